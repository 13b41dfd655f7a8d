"""Every metric's name, once. MLflow, checkpoints, gates, sweeps and reports take it from here.

A name is `<when>/<what>_<unit>`; a score between 0 and 1 has no unit. Loss is in nats.
"""

# Training: one point every trainer.log_every_steps.
TRAIN_NATS_PER_TOKEN = "train/nats_per_token"
TRAIN_LOSS_NATS = "train/loss_nats"
LEARNING_RATE = "train/learning_rate"
GRADIENT_NORM = "train/gradient_norm"

# Speed: of the training steps alone, validation left out.
TOKENS_PER_SECOND = "speed/tokens_per_second"
EXAMPLES_PER_SECOND = "speed/examples_per_second"
MODEL_FLOPS_PER_SECOND = "speed/model_flops_per_second"  # training/flops.py counts them
MODEL_FLOPS_UTILISATION = "speed/model_flops_utilisation"  # of the device's peak
DATA_WAIT_FRACTION = "speed/data_wait_fraction"  # of the time: the loop had no batch
PADDING_FRACTION = "speed/padding_fraction"  # of the tokens computed
REQUEST_P95_MILLISECONDS = "speed/request_p95_milliseconds"  # of a served model, one at a time
PEAK_MEMORY_BYTES = "memory/peak_bytes"  # on a GPU what tensors took, else the whole process
WEIGHTS_MEGABYTES = "memory/weights_megabytes"  # of a model's safetensors files; 10**6 bytes each

# The machine: one point every trainer.system_every_seconds, and one at the last step. Fractions of
# processors and rates are of the time since the point before. of_gpu names those of a GPU.
SYSTEM_CPU_FRACTION = "system/cpu_fraction"  # of all cores, whoever uses them
PROCESS_CPU_FRACTION = "system/process_cpu_fraction"  # of the cores this run may use, by it alone
SYSTEM_MEMORY_BYTES = "system/memory_bytes"  # in use, whoever uses it; caches are not in use
PROCESS_MEMORY_BYTES = "system/process_memory_bytes"  # resident, of the process that trains
DISK_USED_FRACTION = "system/disk_used_fraction"  # of the disk that checkpoints are written to
DISK_READ_BYTES_PER_SECOND = "system/disk_read_bytes_per_second"  # of all disks
DISK_WRITTEN_BYTES_PER_SECOND = "system/disk_written_bytes_per_second"
GPU_FRACTION = "fraction"  # of the time: a kernel ran
GPU_MEMORY_BYTES = "memory_bytes"  # in use, whoever uses it
GPU_POWER_WATTS = "power_watts"

# Energy: what a run and the attempts before it took so far, one point every validation.
ENERGY_KILOWATT_HOURS = "energy/kilowatt_hours"
ENERGY_ESTIMATED_FRACTION = "energy/estimated_fraction"  # of that: no device counted it
CO2_KILOGRAMS = "energy/co2_kilograms"  # the country's mean for so many kilowatt hours

# Validation: one point every validation.
VAL_NATS_PER_TOKEN = "val/nats_per_token"
VAL_PERPLEXITY = "val/perplexity"
VAL_LOSS_NATS = "val/loss_nats"
VAL_NEXT_SENTENCE_NATS = "val/next_sentence_nats"
VAL_REPLACED_NATS = "val/replaced_nats"  # is this token the original or a replacement

# Parts of a loss, as objectives name them: in_training(LOSS_NATS) is "train/loss_nats".
LOSS_NATS = "loss_nats"  # what is descended
NATS_PER_TOKEN = "nats_per_token"
NEXT_SENTENCE_NATS = "next_sentence_nats"
REPLACED_NATS = "replaced_nats"

# Scores of a task; `on("test", F1_MACRO)` is the metric's full name.
ACCURACY = "accuracy"
PRECISION_MACRO = "precision_macro"
RECALL_MACRO = "recall_macro"
F1_MACRO = "f1_macro"
ROC_AUC_MACRO = "roc_auc_macro"  # one class against the rest, mean over classes
CALIBRATION_ERROR = "calibration_error"  # expected; 0 is best

TOKEN_ACCURACY = "token_accuracy"
ENTITY_PRECISION = "entity_precision"  # of exact span and type, over all entities (micro)
ENTITY_RECALL = "entity_recall"
ENTITY_F1 = "entity_f1"
ENTITY_PRECISION_MACRO = "entity_precision_macro"
ENTITY_RECALL_MACRO = "entity_recall_macro"
ENTITY_F1_MACRO = "entity_f1_macro"
ENTITY_ROC_AUC = "entity_roc_auc"  # does confidence rank right entities above wrong ones
ENTITY_CALIBRATION_ERROR = "entity_calibration_error"

# Of one class or entity type, as `of_class(F1, "web")`.
PRECISION = "precision"
RECALL = "recall"
F1 = "f1"
ROC_AUC = "roc_auc"

CLASSIFICATION_SCORES = (
    ACCURACY,
    F1_MACRO,
    PRECISION_MACRO,
    RECALL_MACRO,
    ROC_AUC_MACRO,
    CALIBRATION_ERROR,
)
ENTITY_SCORES = (
    ENTITY_F1,
    ENTITY_PRECISION,
    ENTITY_RECALL,
    ENTITY_F1_MACRO,
    ENTITY_PRECISION_MACRO,
    ENTITY_RECALL_MACRO,
    TOKEN_ACCURACY,
    ENTITY_ROC_AUC,
    ENTITY_CALIBRATION_ERROR,
)
SCORES = {"classification": CLASSIFICATION_SCORES, "entities": ENTITY_SCORES}
CLASS_SCORES = (PRECISION, RECALL, F1, ROC_AUC)
MAIN_SCORE = {"classification": F1_MACRO, "entities": ENTITY_F1}  # what tables sort and lead with
LOWER_IS_BETTER = frozenset({CALIBRATION_ERROR, ENTITY_CALIBRATION_ERROR})

# Of other measures it is the unit, the last word, that says so.
_LOWER_ENDINGS = (
    "loss",
    "perplexity",
    "error",
    "seconds",
    "_bytes",
    "_megabytes",
    "_hours",
    "_kilograms",
    "wait_fraction",
)
_PLACES = frozenset({"best", "train", "val", "test", "speed", "memory", "system", "energy"})

# Of one slice of the test rows: first of a class or type, then of rows of one length, package, ...
CLASS_F1 = "class_f1"
TYPE_F1 = "type_f1"
SLICE_SCORES = {"classification": (CLASS_F1, ACCURACY), "entities": (TYPE_F1, ENTITY_F1)}

_PREFIX = {"validation": "val", "val": "val", "test": "test"}

VAL_ACCURACY = f"val/{ACCURACY}"
VAL_F1_MACRO = f"val/{F1_MACRO}"
VAL_ENTITY_F1 = f"val/{ENTITY_F1}"


def on(split: str, score: str) -> str:
    """Return a score's full name on a split: on("validation", F1_MACRO) is "val/f1_macro"."""
    return f"{_PREFIX[split]}/{score}"


def best(metric: str) -> str:
    """Return the name of a metric at the step whose weights are kept: "best/val/f1_macro"."""
    return f"best/{metric}"


def in_training(part: str) -> str:
    """Return the name of a part of a loss in training: in_training("nats_per_token")."""
    return f"train/{part}"


def in_validation(part: str) -> str:
    """Return the same in validation: "val/nats_per_token"."""
    return f"val/{part}"


def of_domain(metric: str, domain: str) -> str:
    """Return the name of a metric on another domain's text: "val/nats_per_token/general"."""
    return f"{metric}/{domain}"


def share_of(domain: str) -> str:
    """Return the name of the share of a run's training windows that came from a domain, 0-1."""
    return f"data/share/{domain}"


def of_gpu(number: int, what: str) -> str:
    """Return the name of a metric of one GPU: "system/gpu_0_power_watts"."""
    return f"system/gpu_{number}_{what}"


def of_worst_slice(score: str) -> str:
    """Return the name of the lowest score of any slice: "test/worst_slice/accuracy"."""
    return f"test/worst_slice/{score}"


def of_class(score: str, label: str) -> str:
    """Return the name of a score of one class or entity type: "f1/web"."""
    return f"{score}/{label}"


def is_lower_better(metric: str) -> bool:
    """Say whether less of `metric` is better, with or without its split, domain or class."""
    # The measure is the first part that is no place: "val/nats_per_token/general", "f1/seconds".
    measure = next((part for part in metric.split("/") if part not in _PLACES), "")
    return (
        measure in LOWER_IS_BETTER
        or "nats" in measure.split("_")
        or measure.endswith(_LOWER_ENDINGS)
    )
