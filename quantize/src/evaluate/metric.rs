//! What is measured on a set of samples, as the model's card says.

use std::collections::BTreeMap;

use cygnet_sense::BoxDecoder;
use cygnet_sense::answers::Detection;
use cygnet_sense::card::{Anomaly, Card, Evaluation as Wanted, MetricName, Task};

use super::Accuracy;
use super::boxes::decoder;
use super::detection::Matches;
use super::statistics::{Estimate, area_under_curve, ascending, bootstrap, mcnemar, mean, share};
use crate::data::Data;
use crate::error::QuantizeError;

/// Models with fewer classes have no top-5.
const CLASSES_FOR_TOP5: usize = 10;

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// Whether the first answer is the label, or among the first five.
    Top1,
    /// The same, and how often a sample of one of these classes, which are no keywords, is taken for one that is.
    Keyword {
        /// Classes that are no keyword.
        negatives: Vec<i64>,
    },
    /// How well an anomaly score tells label 0 from all others.
    AreaUnderCurve(Anomaly),
    /// Mean average precision of boxes.
    AveragePrecision {
        /// How outputs become boxes.
        decoder: Box<BoxDecoder>,
        /// The true boxes by the name of the sample, in pixels of the input.
        truth: BTreeMap<String, Vec<Detection>>,
    },
    /// Outputs against the float model's; needs no labels.
    Cosine,
}

impl Metric {
    /// What the card wants of `data`; without a card, right first answers.
    ///
    /// # Errors
    /// [`QuantizeError`] where boxes are wanted, and card or data do not tell them.
    pub fn of(card: Option<&Card>, data: &Data) -> Result<Metric, QuantizeError> {
        let Some(card) = card else { return Ok(Metric::Top1) };
        let Wanted { metric, negatives, anomaly, .. } = card.evaluation.clone().unwrap_or_default();
        let by_task = || match card.task {
            Task::Classification => MetricName::Top1,
            _ => MetricName::Cosine,
        };
        Ok(match metric.unwrap_or_else(by_task) {
            MetricName::Top1 => Metric::Top1,
            MetricName::Keyword => {
                let class = |name: &String| card.labels.iter().position(|label| label == name);
                Metric::Keyword { negatives: negatives.iter().filter_map(class).map(|class| class as i64).collect() }
            }
            MetricName::Auc => Metric::AreaUnderCurve(anomaly.unwrap_or_default()),
            MetricName::AveragePrecision => Metric::AveragePrecision {
                decoder: Box::new(decoder(card).map_err(QuantizeError::Unsuitable)?),
                truth: data.true_boxes(card)?,
            },
            MetricName::Cosine => Metric::Cosine,
        })
    }

    pub(super) fn true_boxes(&self, sample: &str) -> Vec<Detection> {
        match self {
            Metric::AveragePrecision { truth, .. } => truth.get(sample).cloned().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Whether samples must have labels.
    pub fn needs_labels(&self) -> bool {
        !matches!(self, Metric::Cosine | Metric::AveragePrecision { .. })
    }
}

/// What one model says to one sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// The class with the greatest score; -1 where there is none.
    pub first: i64,
    /// How many classes score above the label.
    pub rank: usize,
    /// How unusual the sample looks.
    pub anomaly: f64,
    /// What a detector found.
    pub boxes: Vec<Detection>,
}

/// What both models say to one sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub label: Option<i64>,
    /// Elements of the first output.
    pub classes: usize,
    pub float: Answer,
    pub int8: Answer,
    /// Cosine of the angle between the outputs, 1 where they are the same.
    pub cosine: f64,
    /// Mean squared difference of the outputs.
    pub squared_error: f64,
    /// What a detector should find.
    pub truth: Vec<Detection>,
}

/// One figure of both models.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Measure {
    /// What it is: `top-1`, `top-5`, `false accepts`, `AUC`, `AP50`, `AP50:95`, `same answer`, `cosine`,
    /// `squared error`.
    pub name: &'static str,
    /// Whether it is a share of samples, to be shown in percent.
    pub is_share: bool,
    /// The float model's; nothing where the figure compares both.
    pub float: Option<Estimate>,
    /// The int8 model's, or of both together.
    pub int8: Estimate,
    /// int8 less float, with the interval of the paired difference where it is no share.
    pub change: Option<Estimate>,
    /// How likely a difference like this is chance (McNemar's exact test), for shares.
    pub p_value: Option<f64>,
}

impl Measure {
    fn of_both(name: &'static str, is_share: bool, int8: Estimate) -> Measure {
        Measure { name, is_share, float: None, int8, change: None, p_value: None }
    }

    /// A share of `outcomes` for which `holds` of each model.
    fn paired(name: &'static str, outcomes: &[&Outcome], holds: impl Fn(&Outcome, &Answer) -> bool) -> Measure {
        let count = |of: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| of(outcome)).count();
        let float = |outcome: &Outcome| holds(outcome, &outcome.float);
        let int8 = |outcome: &Outcome| holds(outcome, &outcome.int8);
        let lost = count(&|outcome| float(outcome) && !int8(outcome));
        let won = count(&|outcome| !float(outcome) && int8(outcome));
        Measure {
            name,
            is_share: true,
            float: Some(share(count(&float), outcomes.len())),
            int8: share(count(&int8), outcomes.len()),
            change: None,
            p_value: Some(mcnemar(lost, won)),
        }
    }
}

/// All that was measured on a set.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Evaluation {
    /// Samples.
    pub samples: usize,
    /// Right first answers, where samples have labels and the model gives classes.
    #[serde(skip)]
    pub accuracy: Option<Accuracy>,
    /// The figures, the most important first.
    pub measures: Vec<Measure>,
}

impl Evaluation {
    /// The figure called `name`.
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }

    pub(super) fn of(metric: &Metric, outcomes: &[Outcome]) -> Evaluation {
        let all: Vec<&Outcome> = outcomes.iter().collect();
        let has_labels = !all.is_empty() && all.iter().all(|outcome| outcome.label.is_some());
        let gives_classes = matches!(metric, Metric::Top1 | Metric::Keyword { .. });
        let mut measures = Vec::new();
        if has_labels {
            match metric {
                Metric::Top1 => measures.extend(right_answers(&all)),
                Metric::Keyword { negatives } => {
                    measures.extend(right_answers(&all));
                    measures.extend(false_accepts(&all, negatives));
                }
                Metric::AreaUnderCurve(_) => measures.push(anomalies(&all)),
                Metric::Cosine | Metric::AveragePrecision { .. } => {}
            }
        }
        if matches!(metric, Metric::AveragePrecision { .. }) {
            measures.extend(boxes(&all));
        }
        if gives_classes {
            let same = all.iter().filter(|outcome| outcome.float.first == outcome.int8.first).count();
            measures.push(Measure::of_both("same answer", true, share(same, all.len())));
        }
        let of_all = |of: fn(&Outcome) -> f64| mean(&outcomes.iter().map(of).collect::<Vec<_>>());
        measures.push(Measure::of_both("cosine", false, of_all(|outcome| outcome.cosine)));
        measures.push(Measure::of_both("squared error", false, of_all(|outcome| outcome.squared_error)));
        let accuracy = (has_labels && gives_classes).then(|| Accuracy::of(outcomes));
        Evaluation { samples: outcomes.len(), accuracy, measures }
    }
}

fn right_answers(outcomes: &[&Outcome]) -> Vec<Measure> {
    let mut measures = vec![Measure::paired("top-1", outcomes, |outcome, answer| outcome.label == Some(answer.first))];
    if outcomes.iter().all(|outcome| outcome.classes >= CLASSES_FOR_TOP5) {
        measures.push(Measure::paired("top-5", outcomes, |_, answer| answer.rank < 5));
    }
    measures
}

fn false_accepts(outcomes: &[&Outcome], negatives: &[i64]) -> Option<Measure> {
    let is_negative = |class: &i64| negatives.contains(class);
    let unwanted: Vec<&Outcome> =
        outcomes.iter().copied().filter(|o| o.label.is_some_and(|l| is_negative(&l))).collect();
    let accepts = |_: &Outcome, answer: &Answer| !is_negative(&answer.first);
    (!unwanted.is_empty()).then(|| Measure::paired("false accepts", &unwanted, accepts))
}

fn anomalies(outcomes: &[&Outcome]) -> Measure {
    let is_anomaly: Vec<bool> = outcomes.iter().map(|outcome| outcome.label != Some(0)).collect();
    let scores = |of: fn(&Outcome) -> f64| outcomes.iter().map(|outcome| of(outcome)).collect::<Vec<_>>();
    let (float, int8) = (scores(|o| o.float.anomaly), scores(|o| o.int8.anomaly));
    let (float_order, int8_order) = (ascending(&float), ascending(&int8));
    let float_area = |times: &[u32]| area_under_curve(&float, &float_order, &is_anomaly, times);
    let int8_area = |times: &[u32]| area_under_curve(&int8, &int8_order, &is_anomaly, times);
    Measure {
        name: "AUC",
        is_share: false,
        float: Some(bootstrap(outcomes.len(), float_area)),
        int8: bootstrap(outcomes.len(), int8_area),
        change: Some(bootstrap(outcomes.len(), |times| int8_area(times) - float_area(times))),
        p_value: None,
    }
}

fn boxes(outcomes: &[&Outcome]) -> [Measure; 2] {
    let matches = |found: fn(&Outcome) -> &[Detection]| {
        Matches::of(outcomes.iter().map(|outcome| (found(outcome), outcome.truth.as_slice())))
    };
    let (float, int8) = (matches(|o| &o.float.boxes), matches(|o| &o.int8.boxes));
    let measure = |name, of: fn((f64, f64)) -> f64| {
        let float_precision = |times: &[u32]| of(float.average_precision(times));
        let int8_precision = |times: &[u32]| of(int8.average_precision(times));
        Measure {
            name,
            is_share: false,
            float: Some(bootstrap(outcomes.len(), float_precision)),
            int8: bootstrap(outcomes.len(), int8_precision),
            change: Some(bootstrap(outcomes.len(), |times| int8_precision(times) - float_precision(times))),
            p_value: None,
        }
    };
    [measure("AP50", |(half, _)| half), measure("AP50:95", |(_, all)| all)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(label: i64, float: i64, int8: i64) -> Outcome {
        let answer = |first| Answer { first, rank: usize::from(first != label), anomaly: 0.0, boxes: Vec::new() };
        let (float, int8, truth) = (answer(float), answer(int8), Vec::new());
        Outcome { label: Some(label), classes: 3, float, int8, cosine: 1.0, squared_error: 0.0, truth }
    }

    #[test]
    fn counts_become_shares_with_mcnemar() {
        let outcomes = [outcome(0, 0, 0), outcome(1, 1, 2), outcome(2, 2, 1), outcome(2, 1, 2), outcome(1, 1, 0)];
        let found = Evaluation::of(&Metric::Top1, &outcomes);
        let top1 = found.measure("top-1").unwrap();
        assert_eq!((top1.float.unwrap().value, top1.int8.value), (0.8, 0.4));
        // Three lost, one won: 2 · (1 + 4) / 2⁴.
        assert_eq!(top1.p_value, Some(0.625));
        assert_eq!(found.measure("same answer").unwrap().int8.value, 0.2);
        assert!(found.measure("top-5").is_none());
        let accuracy = found.accuracy.unwrap();
        assert_eq!((accuracy.float_right, accuracy.int8_right, accuracy.agree), (4, 2, 1));
    }

    #[test]
    fn negatives_taken_for_keywords_are_false_accepts() {
        let outcomes = [outcome(0, 0, 1), outcome(0, 0, 0), outcome(2, 1, 0), outcome(1, 1, 1)];
        let found = Evaluation::of(&Metric::Keyword { negatives: vec![0, 2] }, &outcomes);
        let accepts = found.measure("false accepts").unwrap();
        // Of three negatives: float takes the third for 1, int8 the first.
        assert!((accepts.float.unwrap().value - 1.0 / 3.0).abs() < 1e-12);
        assert!((accepts.int8.value - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn without_labels_only_the_comparison_is_left() {
        let mut unlabelled = outcome(0, 1, 1);
        unlabelled.label = None;
        let found = Evaluation::of(&Metric::Top1, &[unlabelled]);
        let names: Vec<_> = found.measures.iter().map(|measure| measure.name).collect();
        assert_eq!(names, ["same answer", "cosine", "squared error"]);
        assert_eq!(found.accuracy, None);
    }
}
