"""Where the time of a step goes on a CPU: `python -m benchmarks.profile` draws step_cpu.png."""

from collections import Counter

from matplotlib.figure import Figure
from torch.profiler import ProfilerActivity, profile

from benchmarks import data
from benchmarks.__main__ import SMALL
from benchmarks.measure import ROOT
from benchmarks.pretraining import recipe_of, trainer_of
from vertiform.training.hardware import applied, choose
from vertiform.training.trainer import memory_kept
from vertiform.training.workload import Text, build_workload

PICTURE = ROOT / "docs" / "pictures" / "step_cpu.png"
STEPS = 5
KINDS = {  # the first that fits an operator's name; its products and the loss's are one kind
    "attention": ("attention", "attend_by_piece"),
    "products of matrices": ("aten::mm", "aten::addmm", "aten::bmm"),
    "activation, norms, softmax": ("gelu", "layer_norm", "softmax", "crossentropy"),
    "optimiser and clipping": ("adamw", "linalg_vector_norm", "foreach"),
    "copies, sums and fills": ("copy", "clone", "cat", "fill", "zero", "aten::add", "aten::sum"),
    "embeddings and gathering": ("embedding", "index", "gather"),
    "views of tensors": ("transpose", "as_strided", "view", "slice", "select", "empty", "reshape"),
}


def main() -> None:
    """Profile a few steps of encoder_small and draw the share of each kind of operation."""
    recipe = recipe_of(SMALL)
    tokens, _ = data.tokens(SMALL["vocab_size"])
    work = build_workload(recipe, Text(domain="benchmarks", tokens=tokens), start=None)
    batches = work.training(parts=1, steps=STEPS + 2)
    optimizer = recipe.optimizer.build(work.network)

    def step(number: int) -> None:
        recipe.objective.losses(work.network, batches[number]).total.backward()
        optimizer.step()
        optimizer.zero_grad()

    with applied(choose(trainer_of(SMALL))), memory_kept():
        for number in range(2):
            step(number)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            for number in range(2, STEPS + 2):
                step(number)
    spent: Counter[str] = Counter()
    for event in profiled.key_averages():
        name = event.key.lower()
        kinds = (kind for kind, parts in KINDS.items() if any(part in name for part in parts))
        spent[next(kinds, "everything else")] += event.self_cpu_time_total
    total = sum(spent.values())
    kinds = [kind for kind, _ in reversed(spent.most_common())]
    shares = [100 * spent[kind] / total for kind in kinds]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(kinds, shares, color="#4c72b0")
    axes.bar_label(bars, [f"{share:.0f}%" for share in shares], padding=3)
    axes.set_xlabel(f"share of a step's {total / STEPS / 1000:,.0f} ms of CPU time")
    axes.set_title("A step of encoder_small, 16 windows of 128 tokens", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, max(shares) * 1.12)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=120)
    for kind, share in zip(reversed(kinds), reversed(shares), strict=True):
        print(f"{share:5.1f}%  {kind}")


if __name__ == "__main__":
    main()
