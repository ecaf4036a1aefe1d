//! What the standard operators take: <https://onnx.ai/onnx/operators/>.

use super::{ModelError, Node};

/// The newest version of the standard operator set that is known: the one whose node tests `tests/conformance` runs.
pub(super) const NEWEST_SET: i64 = 28;

/// The most inputs that operators of the standard set have in any version; those that are not here take any number, or are
/// not known.
const MOST_INPUTS: &[(usize, &str)] = &[
    (0, "Constant RandomNormal RandomUniform SequenceEmpty"),
    (
        1,
        "Abs Acos Acosh ArgMax ArgMin Asin Asinh Atan Atanh AveragePool Bernoulli BitCast BitwiseNot BlackmanWindow \
         Cast Ceil Celu ConcatFromSequence ConstantOfShape Cos Cosh DepthToSpace Det DynamicQuantizeLinear Elu Erf \
         Exp EyeLike Flatten Floor Gelu GlobalAveragePool GlobalLpPool GlobalMaxPool HammingWindow HannWindow \
         HardSigmoid HardSwish Hardmax Identity If ImageDecoder IsInf IsNaN LRN LeakyRelu Log LogSoftmax \
         LpNormalization LpPool MaxPool MeanVarianceNormalization Mish Multinomial Neg NonZero Not Optional \
         OptionalGetElement OptionalHasElement RandomNormalLike RandomUniformLike Reciprocal RegexFullMatch Relu \
         Round Selu SequenceLength Shape Shrink Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign SpaceToDepth \
         Sqrt StringNormalizer StringSplit Swish Tan Tanh TfIdfVectorizer ThresholdedRelu Transpose Unique",
    ),
    (
        2,
        "Add AffineGrid And BitShift BitwiseAnd BitwiseOr BitwiseXor CastLike CenterCropPad Compress CumProd CumSum \
         Div Equal Expand Gather GatherElements GatherND Greater GreaterOrEqual GridSample Less LessOrEqual MatMul \
         MaxRoiPool Mod Mul Or PRelu Pow RMSNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax \
         ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Reshape ReverseSequence SequenceAt SequenceErase \
         Split SplitToSequence Squeeze StringConcat Sub SwiGLU TopK Trilu Unsqueeze Upsample Xor",
    ),
    (
        3,
        "Clip Col2Im Conv ConvTranspose DFT DequantizeLinear Dropout Gemm GroupNormalization InstanceNormalization \
         LayerNormalization MaxUnpool NegativeLogLikelihoodLoss OneHot QuantizeLinear Range RoiAlign Scatter \
         ScatterElements ScatterND SequenceInsert SoftmaxCrossEntropyLoss TensorScatter Tile Where",
    ),
    (4, "CausalConvWithState ConvInteger MatMulInteger Pad Resize RotaryEmbedding STFT"),
    (5, "BatchNormalization DeformConv MelWeightMatrix NonMaxSuppression Slice"),
    (6, "GRU LinearAttention RNN"),
    (7, "Attention"),
    (8, "LSTM QLinearMatMul"),
    (9, "QLinearConv"),
];

/// Refuses inputs that the operator does not have: what they are meant to do would not be done.
pub(super) fn check_inputs(node: &Node) -> Result<(), ModelError> {
    if !node.domain.is_empty() {
        return Ok(());
    }
    let given = node.inputs.iter().rposition(|input| !input.is_empty()).map_or(0, |last| last + 1);
    let is_named = |names: &str| names.split_whitespace().any(|name| name == node.op_type);
    match MOST_INPUTS.iter().find(|(_, names)| is_named(names)) {
        Some((most, _)) if given > *most => {
            let problem =
                format!("it has {given} inputs, and {} takes at most {most}; leave the others out", node.op_type);
            Err(ModelError::node(node, problem))
        }
        _ => Ok(()),
    }
}
