"""How many patches a step has: bounded by memory, by time on a CPU, and by the size of the dataset."""

from __future__ import annotations

from planners.cost import StepCost
from planners.fingerprint import Fingerprint
from planners.rules.decision import Decision, Limits

LARGEST_BATCH = 16
SMALLEST_BATCH = 2
VARIED = 0.05  # share of the training pixels in one batch
# A CPU shares its memory with the data, the desktop and perhaps another fold; a GPU only with its own fragments.
USABLE_MEMORY = {"cpu": 0.5, "cuda": 0.8}
SECONDS_PER_STEP = 0.5  # on a CPU: 7,200 steps are an hour


def memory_target(limits: Limits) -> float:
    """Bytes that one training step may take on this device."""
    return USABLE_MEMORY[limits.device] * limits.memory_gib * 2**30


def affordable_samples(cost: StepCost, limits: Limits) -> dict[str, float]:
    """By limit, how many samples of the patch of ``cost`` a step may have; fractions tell the patch rule how close."""
    affordable = {"memory": max(0.0, (memory_target(limits) - cost.fixed_bytes) / cost.bytes_per_sample)}
    if not limits.on_gpu:
        affordable["seconds per step"] = SECONDS_PER_STEP / cost.seconds(1, limits.cores)
    return affordable


def batch_size(statistics: Fingerprint, limits: Limits, upsampling: int, cost: StepCost) -> Decision:
    """Patches per step: what memory and, on a CPU, time allow, at most 16 and 5 % of the training pixels, at least 2.

    Memory and operations are counted on the network of the plan (`planners.cost`). The 5 % are nnU-Net's rule
    (Isensee et al. 2021): a batch that sees more of a small dataset adds no variety.
    """
    pixels = statistics.pixels * upsampling**2
    bounds = {name: int(n) for name, n in affordable_samples(cost, limits).items()}
    bounds |= {"5 % of the training pixels": int(VARIED * pixels / cost.patch**2), "largest batch": LARGEST_BATCH}
    tightest = min(bounds, key=bounds.get)
    # Time and variety are wishes, memory is not.
    value = max(1, min(bounds["memory"], max(SMALLEST_BATCH, bounds[tightest])))
    held = "memory" if bounds["memory"] <= value else tightest
    predicted = cost.bytes(value)
    because = (
        f"Of the bounds on a {limits.name} ({', '.join(f'{name}: {n}' for name, n in bounds.items())}) the tightest "
        f"counts, but {SMALLEST_BATCH} where memory allows; a step takes {predicted / 2**30:.2f} GiB."
    )
    inputs = {
        "bounds": bounds,
        "predicted_bytes": predicted,
        "target_bytes": int(memory_target(limits)),
        "flops": cost.flops_per_sample * value,
    }
    if not limits.on_gpu:
        inputs["predicted_seconds"] = round(cost.seconds(value, limits.cores), 3)
    return Decision(value, because, inputs, held)
