//! [RoiAlign](https://onnx.ai/onnx/operators/onnx__RoiAlign.html).

use cygnet_core::plan::DType;
use cygnet_core::plan::step::{RoiAlign, Step};

use super::{Kind, Lowered, Lowering, Val, identity, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

impl Lowering<'_> {
    pub(super) fn roi_align(&mut self, node: &Node) -> Lowered {
        let greatest = match node.string("mode").unwrap_or("avg") {
            "avg" => false,
            "max" => true,
            other => return wrong(format!("mode \"{other}\" is not known; \"avg\" and \"max\" are")),
        };
        let usual = if self.model.opset() < 16 { "output_half_pixel" } else { "half_pixel" };
        let half_pixel = match node.string("coordinate_transformation_mode").unwrap_or(usual) {
            "half_pixel" => true,
            "output_half_pixel" => false,
            other => {
                let mend = "\"half_pixel\" and \"output_half_pixel\" are";
                return wrong(format!("coordinate_transformation_mode \"{other}\" is not known; {mend}"));
            }
        };
        let extent = |name: &str, least: i64, usual: i64, most: i64| match node.int(name).unwrap_or(usual) {
            given if (least..=most).contains(&given) => Ok(given as u32),
            given => wrong(format!("{name} is {given}; it must be within {least} and {most}")),
        };
        let (out_h, out_w) = (extent("output_height", 1, 1, 1 << 24)?, extent("output_width", 1, 1, 1 << 24)?);
        let samples = extent("sampling_ratio", 0, 0, RoiAlign::MOST_SAMPLES.into())?;
        let scale = node.float("spatial_scale").unwrap_or(1.0);
        if !scale.is_finite() {
            return wrong(format!("spatial_scale is {scale}; it must be a finite number"));
        }
        let [x, boxes, images] = [0, 1, 2].map(|index| self.tensor(node, index));
        let (x, boxes, images) = (self.float(x?)?, self.float(boxes?)?, images?);
        let (shape, count) = match (&x.layout.shape[..], &boxes.layout.shape[..], &images.layout.shape[..]) {
            (&[batch, channels, height, width], &[count, 4], &[images]) if count == images => {
                ([batch, height, width, channels].map(|extent| extent as u32), count)
            }
            (x, boxes, images) => {
                let wanted = "it takes [pictures, channels, rows, columns], [boxes, 4] and [boxes]";
                return wrong(format!("its inputs have the shapes {x:?}, {boxes:?} and {images:?}; {wanted}"));
            }
        };
        let [batch, in_h, in_w, channels] = shape;
        let out = [count, channels as usize, out_h as usize, out_w as usize];
        Self::check_size(&out)?;
        if out.contains(&0) || shape.contains(&0) {
            return no_step("a result without elements has no step");
        }
        let order = Layout::channels_last_order(4);
        let x = self.ordered(&x, &order)?;
        let boxes = self.ordered(&boxes, &identity(2))?;
        let images = self.ordered(&images, &identity(1))?;
        if self.builder.draft(images.tensor).dtype != DType::I64 {
            return wrong("its batch_indices are not int64");
        }
        let name = node.output(0).unwrap_or("").to_string();
        let layout = Layout::ordered(&out, &order);
        let y = self.new_tensor(DType::F32, &layout, None, &name);
        let step = RoiAlign {
            x: x.tensor,
            boxes: boxes.tensor,
            images: images.tensor,
            y,
            batch,
            in_h,
            in_w,
            channels,
            count: count as u32,
            out_h,
            out_w,
            samples,
            scale,
            half_pixel: half_pixel.into(),
            greatest: greatest.into(),
        };
        self.builder.step(Step::RoiAlign(step), &node.label());
        self.bind(node, 0, Val { tensor: y, layout, kind: Kind::Float });
        Ok(())
    }
}
