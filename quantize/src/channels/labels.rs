//! A label for every element of a tensor.

/// Labels of a tensor's elements, stored once along every axis on which they do not change.
///
/// Typical activations of a convolution have one label per channel: extents `[1, channels, 1, 1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// For each axis of the tensor its extent where labels change along it, else 1.
    extents: Vec<usize>,
    marks: Vec<usize>,
}

impl Labels {
    /// One label for all elements of a tensor of `rank` axes.
    pub fn uniform(rank: usize, label: usize) -> Labels {
        Labels { extents: vec![1; rank], marks: vec![label] }
    }

    /// One label per index of `axis`.
    pub fn along(rank: usize, axis: usize, labels: Vec<usize>) -> Labels {
        let mut extents = vec![1; rank];
        extents[axis] = labels.len();
        Labels { extents, marks: labels }.compressed()
    }

    /// One label for each element of a tensor of this shape, the last axis fastest.
    pub(super) fn of_elements(shape: &[usize], labels: Vec<usize>) -> Labels {
        Labels { extents: shape.to_vec(), marks: labels }.compressed()
    }

    /// Stores labels once along axes where they do not change.
    fn compressed(mut self) -> Labels {
        for axis in 0..self.extents.len() {
            let (extent, inner) = (self.extents[axis], self.extents[axis + 1..].iter().product::<usize>());
            let slab = extent * inner;
            if extent <= 1 || slab == 0 {
                continue;
            }
            let is_same = |slab: &[usize]| slab.chunks(inner).all(|row| row == &slab[..inner]);
            if self.marks.chunks(slab).all(is_same) {
                self.marks = self.marks.chunks(slab).flat_map(|slab| slab[..inner].to_vec()).collect();
                self.extents[axis] = 1;
            }
        }
        self
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.extents.len()
    }

    /// The labels as stored, each at least once.
    pub fn marks(&self) -> &[usize] {
        &self.marks
    }

    /// Whether labels change along `axis`.
    pub fn varies(&self, axis: usize) -> bool {
        self.extents.get(axis).is_some_and(|&extent| extent > 1)
    }

    /// The axes along which labels change.
    pub fn varying(&self) -> Vec<usize> {
        (0..self.rank()).filter(|&axis| self.varies(axis)).collect()
    }

    /// The label of each index of `axis` of extent `extent`, where labels change along no other axis.
    pub fn along_axis(&self, axis: usize, extent: usize) -> Option<Vec<usize>> {
        match self.varying()[..] {
            [] => Some(vec![*self.marks.first()?; extent]),
            [only] if only == axis && self.marks.len() == extent => Some(self.marks.clone()),
            _ => None,
        }
    }

    /// The label of each element of the tensor, which has the extents `shape`; the last axis fastest.
    pub fn elements(&self, shape: &[usize]) -> Vec<usize> {
        let mut full = Vec::with_capacity(shape.iter().product());
        let strides = self.strides();
        let mut index = vec![0; shape.len()];
        if shape.contains(&0) || shape.len() != self.rank() {
            return full;
        }
        loop {
            full.push(self.marks[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
            let Some(axis) = (0..shape.len()).rev().find(|&axis| index[axis] + 1 < shape[axis]) else { return full };
            index[axis] += 1;
            index[axis + 1..].fill(0);
        }
    }

    /// Steps in `marks` for one step along each axis; 0 where labels do not change.
    fn strides(&self) -> Vec<usize> {
        let stride = |axis: usize| match self.extents[axis] {
            1 => 0,
            _ => self.extents[axis + 1..].iter().product(),
        };
        (0..self.rank()).map(stride).collect()
    }

    /// The same labels with axes of no extent put before the first until there are `rank`.
    pub(super) fn widened(&self, rank: usize) -> Labels {
        let missing = rank.saturating_sub(self.rank());
        Labels { extents: [vec![1; missing], self.extents.clone()].concat(), marks: self.marks.clone() }
    }

    /// The same labels without `axes`; `None` where they change along one of those.
    pub(super) fn without(&self, axes: &[usize], keep: bool) -> Option<Labels> {
        if axes.iter().any(|&axis| axis >= self.rank() || self.varies(axis)) {
            return None;
        }
        let stays = |axis: &usize| keep || !axes.contains(axis);
        let extents = (0..self.rank()).filter(stays).map(|axis| self.extents[axis]).collect();
        Some(Labels { extents, marks: self.marks.clone() })
    }

    /// The labels of a constant of `shape` that is broadcast against a tensor with these labels; `None` where an
    /// element of the constant meets more than one label, unless the constant changes along no axis of labels.
    pub(super) fn of_operand(&self, shape: &[usize]) -> Option<Labels> {
        let offset = self.rank().checked_sub(shape.len())?;
        let holds = |axis: &usize| *axis >= offset && shape[axis - offset] == self.extents[*axis];
        let varying = self.varying();
        (varying.iter().all(holds))
            .then(|| Labels { extents: self.extents[offset..].to_vec(), marks: self.marks.clone() })
    }

    /// Pairs of labels that meet when two tensors are broadcast against each other, and the result's extents.
    pub(super) fn meetings(&self, other: &Labels) -> Option<Meetings> {
        let rank = self.rank().max(other.rank());
        let (one, other) = (self.widened(rank), other.widened(rank));
        let extents: Vec<usize> = one.extents.iter().zip(&other.extents).map(|(a, b)| *a.max(b)).collect();
        let fits = |labels: &Labels| labels.extents.iter().zip(&extents).all(|(&a, &b)| a == 1 || a == b);
        (fits(&one) && fits(&other)).then(|| {
            let pairs = one.elements(&extents).into_iter().zip(other.elements(&extents)).collect();
            (extents, pairs)
        })
    }

    /// Other labels in place of these.
    pub(super) fn renamed(&self, name: impl Fn(usize) -> usize) -> Labels {
        Labels { extents: self.extents.clone(), marks: self.marks.iter().map(|&m| name(m)).collect() }.compressed()
    }
}

/// Extents of a result, and the pairs of labels that meet in its elements.
type Meetings = (Vec<usize>, Vec<(usize, usize)>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_stored_once_where_they_repeat() {
        let labels = Labels::of_elements(&[1, 2, 2], vec![5, 5, 7, 7]);
        assert_eq!(labels, Labels::along(3, 1, vec![5, 7]));
        assert_eq!(labels.elements(&[1, 2, 2]), [5, 5, 7, 7]);
        assert_eq!(labels.along_axis(1, 2), Some(vec![5, 7]));
        assert_eq!(labels.along_axis(2, 2), None);
        assert_eq!(Labels::of_elements(&[2, 2], vec![3; 4]), Labels::uniform(2, 3));
    }

    #[test]
    fn operands_meet_labels_as_values_are_broadcast() {
        let image = Labels::along(4, 1, vec![0, 1]);
        let (extents, pairs) = image.meetings(&Labels::along(3, 0, vec![8, 9])).unwrap();
        assert_eq!((extents, pairs), (vec![1, 2, 1, 1], vec![(0, 8), (1, 9)]));
        assert_eq!(image.of_operand(&[2, 1, 1]), Some(Labels::along(3, 0, vec![0, 1])));
        assert_eq!(image.of_operand(&[2]), None); // along the width
        assert_eq!(image.without(&[2, 3], false), Some(Labels::along(2, 1, vec![0, 1])));
        assert_eq!(image.without(&[1], false), None);
    }
}
