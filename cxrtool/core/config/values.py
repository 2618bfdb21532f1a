"""The names that options take, the recipes, and the numbers that defaults rest on."""

ARCHS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("densenet121", "densenet161", "densenet169", "densenet201"),
    *("convnext_tiny", "convnext_small", "convnext_base"),
    *("efficientnet_b0", "efficientnet_b2", "efficientnet_b4", "efficientnet_v2_s"),
    *("swin_t", "swin_s", "swin_v2_t"),
)
"""torchvision's names. The report uses resnet101 and densenet121."""
TIMM = "timm/"
"""What the name of an architecture begins with that is one of timm's."""
IMAGENET, NO_WEIGHTS = "imagenet", "none"
RECIPES: dict[str, dict[str, object]] = {
    "report": {},
    "strong": {
        "uncertainty": "mixed",
        "epochs": 5,
        "image_size": 320,
        "body_lr": 1e-4,
        "schedule": "cosine",
        "warmup": 1.0,
        "freeze_epochs": 0,
        "unfreeze": "all",
        "validations": 4,
        "ema": 0.999,
        "sampling": "uniform",
    },
    "probe": {"probe": "only", "sampling": "uniform"},
    "lp-ft": {
        "probe": "first",
        "epochs": 5,
        "lr": 1e-4,
        "schedule": "cosine",
        "freeze_epochs": 0,
        "unfreeze": "all",
        "validations": 4,
        "sampling": "uniform",
    },
}
"""Named sets of defaults: what differs from `TrainConfig`'s own, which are the report's.

`strong` is what the codebases behind the best published CheXpert scores agree on: Irvin 2019
(arXiv 1901.07031), Pham 2021 (1911.06475), Ye 2020 (jfhealthcare/Chexpert), Yuan 2021 (2012.03173).
`probe` fits the last layer alone to features of the frozen network; `lp-ft` trains all of the
network from there, at a low rate (Kumar 2022, 2202.10054).
"""
NO_PROBE, PROBE_ONLY, PROBE_FIRST = "none", "only", "first"
"""Whether the last layer is fitted to features: not at all, alone, or before the network."""
POLICIES = ("zeros", "ones", "ignore", "smooth", "smooth-zeros", "mixed")
REPORT_POLICIES = ("zeros", "ones")
"""The report's two, under both of which a split is balanced."""
BLANKS = ("zeros", "ignore")
SOFT = "soft"
READERS = ("vote", "any", "all", SOFT)
"""What several readers' labels of one image become."""
SCHEDULES = ("plateau", "cosine", "one-cycle", "constant")
BALANCED = "balanced"
LOSSES = ("bce", "asymmetric", "auc")
FORMATS = (
    *("auto", "chexpert", "chexlocalize", "chexpert-plus", "nih", "mimic", "padchest", "vindr"),
    *("brax", "rsna", "siim", "openi", "csv"),
)
SPLITS = ("train", "valid", "test", "expert")
BOTH = " x "
"""Between two columns: the groups of both at once, such as women from 20 to 39."""
SUBGROUPS = ("sex", "age", "view", "race", f"sex{BOTH}age")
HEATMAPS = ("gradcam", "cam")
SR_CLASSES = ("comprehensive-3d", "comprehensive", "enhanced")
"""Classes of structured reports that may hold measurements after TID 1500, the richest first."""
ENGINES = ("auto", "torch", "openvino", "onnxruntime")

ROOM = 8 / 7
"""How much larger than the network's input an image may be that augmentation samples from."""
CACHE_SIZE = 256
"""224 pixels, the report's, with that room."""
USUAL_FROZEN = 3
"""Epochs in which the new last layer alone is trained, unless said otherwise."""
LEAST_RATE = 1e-6
"""Neither learning rate nor weight decay falls below this when blocks are unfrozen."""
UNFREEZE_FACTOR = 0.1
"""What learning rate and weight decay are multiplied by when blocks are unfrozen."""
PLATEAU_FACTOR = 0.1
"""What the learning rate is multiplied by on a plateau of the training loss."""

# Beyond these a value is a slip of the keyboard, or asks for what no machine has.
MOST_EPOCHS = 10_000
MOST_IN_A_BATCH = 65_536
MOST_MINUTES = 1_000_000
MOST_PIXELS = 4_096
MOST_POSITIVE_WEIGHT = 1_000_000
MOST_RATE = 100
FEWEST_REPLICATES = 100
"""With fewer, a 95 % interval would rest on one or two of them."""
