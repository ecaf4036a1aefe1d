//! Classes of pixels, against cases worked by hand.

use cygnet_sense::mask::{MaskDecoder, MaskError, MaskForm};
use cygnet_sense::{Colour, Fit, ImageSpec};

fn decoder(form: MaskForm) -> MaskDecoder {
    MaskDecoder { form, classes: 2, columns: 2, rows: 1, width: 8, height: 4, threshold: 0.5 }
}

fn painted(decoder: &MaskDecoder, output: &[f32], spec: &ImageSpec, width: u32, height: u32) -> Vec<String> {
    let placement = spec.placement(width, height).unwrap();
    let mut rows = vec![String::new(); height as usize];
    decoder
        .paint(output, &placement, |_, row, class| {
            rows[row as usize].push(class.map_or('.', |class| ['a', 'b'][class as usize]))
        })
        .unwrap();
    rows
}

#[test]
fn the_greatest_of_interpolated_scores_wins() {
    // Middles of the two places at x = 2 and x = 6 of 8. Class a falls from 1 to 0 between them; class b has 0.3 at both:
    // a wins up to x = 2 + 0.7 · 4 = 4.8, so up to the pixel with its middle at 4.5.
    let spec = ImageSpec::new(8, 4, Colour::Rgb);
    let planes = painted(&decoder(MaskForm::Planes), &[1.0, 0.0, 0.3, 0.3], &spec, 8, 2);
    assert_eq!(planes, ["aaaaabbb", "aaaaabbb"]);
    assert_eq!(painted(&decoder(MaskForm::Pixels), &[1.0, 0.3, 0.0, 0.3], &spec, 8, 2), planes);
    // The first of equal ones; NaN never.
    assert_eq!(decoder(MaskForm::Planes).class_at(&[1.0, 1.0, 1.0, 1.0], 3.0, 1.0), Some(0));
    assert_eq!(decoder(MaskForm::Planes).class_at(&[f32::NAN, f32::NAN, 1.0, 1.0], 3.0, 1.0), Some(1));
}

#[test]
fn one_score_is_held_against_a_threshold_and_numbers_are_those_of_the_nearest_place() {
    let spec = ImageSpec::new(8, 4, Colour::Rgb);
    // 0.5 is reached at x = 2 + 0.5 · 4 = 4.
    assert_eq!(painted(&decoder(MaskForm::Threshold), &[1.0, 0.0], &spec, 8, 1), ["aaaa...."]);
    assert_eq!(painted(&decoder(MaskForm::Classes), &[1.0, 0.0], &spec, 8, 1), ["bbbbaaaa"]);
    assert_eq!(painted(&decoder(MaskForm::Classes), &[-1.0, 2.0], &spec, 8, 1), ["........"]);
}

#[test]
fn pictures_lie_in_the_input_as_the_card_says() {
    // A picture of 4 × 4 in the middle of 8 × 4: its columns are those from 2 to 6 of the input.
    let padded = ImageSpec { fit: Fit::Pad, ..ImageSpec::new(8, 4, Colour::Rgb) };
    assert_eq!(painted(&decoder(MaskForm::Classes), &[0.0, 1.0], &padded, 4, 4), ["aabb"; 4]);
    // Of 16 × 4 the middle 8 columns are seen.
    let cropped = ImageSpec { fit: Fit::Crop { resize_shorter: 8 }, ..ImageSpec::new(8, 8, Colour::Rgb) };
    let square = MaskDecoder { height: 8, ..decoder(MaskForm::Classes) };
    assert_eq!(painted(&square, &[0.0, 1.0], &cropped, 16, 8)[7], "....aaaabbbb....");
}

#[test]
fn outputs_of_another_length_are_refused() {
    let refused = decoder(MaskForm::Planes).check(&[0.0; 3]).unwrap_err();
    assert_eq!(refused, MaskError { given: 3, needed: 4 });
    assert!(refused.to_string().contains("the output has 3 numbers, where a mask of this form has 4"));
    assert!(MaskDecoder { columns: 0, ..decoder(MaskForm::Classes) }.check(&[]).is_err());
}

#[test]
fn the_shape_of_an_output_tells_its_places() {
    assert_eq!(MaskForm::Planes.places(&[1, 3, 4, 8], 3), Some((4, 8)));
    assert_eq!(MaskForm::Planes.places(&[1, 3, 4, 8], 8), None);
    assert_eq!(MaskForm::Pixels.places(&[4, 8, 3], 3), Some((4, 8)));
    assert_eq!(MaskForm::Pixels.places(&[2, 4, 8, 3], 3), None);
    assert_eq!(MaskForm::Threshold.places(&[1, 1, 4, 8], 1), Some((4, 8)));
    assert_eq!(MaskForm::Threshold.places(&[1, 4, 8, 1], 1), Some((4, 8)));
    assert_eq!(MaskForm::Classes.places(&[4, 8], 21), Some((4, 8)));
    assert_eq!(MaskForm::Classes.places(&[3, 4, 8], 21), None);
    assert_eq!(MaskForm::Classes.places(&[4, 0], 21), None);
}
