"""Figures as tables in Markdown."""
import sizes
from compare import best, mean_change


def line(cells):
    return f"| {' | '.join(cells)} |"


def head(columns):
    return "\n".join([line(columns), line(["---"] * len(columns))])


def cell(figure):
    """Top-1, and agreement in brackets."""
    return "failed" if figure is None else f"{figure['top1']:.2f} ({figure['agreement']:.2f})"


def accuracy_head(efforts):
    columns = ["model", "samples", "float", "onnxruntime, best top-1", "onnxruntime, best agreement"]
    return head(columns + [f"ours, {effort}" for effort in efforts] + [f"p, {efforts[-1]}"])


def accuracy_row(row):
    chosen = [best(row["onnxruntime"], by) for by in ("top1", "agreement")]
    named = [f"{cell(row['onnxruntime'][name])} {name}" for name in chosen]
    last = list(row["ours"].values())[-1]
    p = "" if last is None else f"{last['p']:.2g}"
    return line([row["model"], str(row["samples"]), f"{row['float']['onnxruntime']:.2f}", *named,
                 *(cell(figure) for figure in row["ours"].values()), p])


def mean_row(rows, efforts):
    """Mean change of top-1 in points, and of agreement."""
    def mean(figures):
        figures = list(figures)
        if None in figures:
            return ""
        change, agreement = (sum(figure[key] for figure in figures) / len(figures) for key in ("change", "agreement"))
        return f"{change:+.3f} ({agreement:.2f})"

    theirs = [mean(row["onnxruntime"][best(row["onnxruntime"], by)] for row in rows) for by in ("top1", "agreement")]
    ours = [mean(row["ours"][effort] for row in rows) for effort in efforts]
    return line(["mean change of top-1, points", "", "", *theirs, *ours, ""])


def settings_table(rows):
    """Every setting of onnxruntime."""
    names = list(rows[0]["onnxruntime"])
    lines = [line([row["model"], *(cell(row["onnxruntime"][name]) for name in names)]) for row in rows]
    return "\n".join([head(["model", *names]), *lines])


def strides(rows):
    """Where onnxruntime collected in strides."""
    told = [f"{row['model']}, {name}: {found['stride']} samples at a time" for row in rows
            for name, found in row["onnxruntime"].items() if found["stride"]]
    head = "onnxruntime collected in strides, as all activations at once take too much memory:"
    return "\n  ".join([head, *told]) if told else ""


def verdict_lines(found):
    """Claims, whether they hold, and the figures that tell."""
    lines = []
    for claim, holds, figures in found:
        lines.append(f"{'holds         ' if holds else 'does not hold '} {claim}")
        lines += [f"                 {figure}" for figure in figures]
    return "\n".join(lines)


def sizes_head():
    bytes = [".onnx bytes", "int8's is × larger", "plan bytes", "int8's is × larger", "RAM bytes"]
    return head(["model", "variant", *bytes, "top-1", "change", "agreement"])


def sizes_rows(row):
    int8 = row["variants"]["int8"]
    lines = []
    for name, found in row["variants"].items():
        if found is None:
            lines.append(line([row["model"], name, *["refused"] * 8]))
            continue
        sizes = []
        for key in ("bytes", "plan_bytes"):
            sizes += [f"{found[key]:,}", f"{int8[key] / found[key]:.2f}" if int8 else ""]
        judged = [f"{found['top1']:.2f}", f"{found['change']:+.2f}", f"{found['agreement']:.2f}"]
        lines.append(line([row["model"], name, *sizes, f"{found['ram_bytes']:,}", *judged]))
    return "\n".join(lines)
