"""Drawn X-rays in NIH's layout: the table and the folder of PNGs as they are downloaded."""

import pandas as pd
from PIL import Image

from cxrtool.data.phantoms import draw_dataset

FINDINGS = {
    "Cardiomegaly": "Cardiomegaly",
    "Lung Opacity": "Infiltration",
    "Lung Lesion": "Mass",
    "Edema": "Edema",
    "Consolidation": "Consolidation",
    "Pneumonia": "Pneumonia",
    "Atelectasis": "Atelectasis",
    "Pneumothorax": "Pneumothorax",
    "Pleural Effusion": "Effusion",
    "Pleural Other": "Pleural_Thickening",
}
"""CheXpert's labels and NIH's names for them."""


def draw_nih(folder, patients, seed):
    """A folder with Data_Entry_2017.csv and images/, and CheXpert's labels of its images.

    Without the mark of drawn images: it shall be taken for anybody's data.
    """
    drawn = draw_dataset(folder / "drawn", patients=patients, seed=seed, valid_patients=1)
    truth = pd.read_csv(drawn.folder / "train.csv")
    truth = truth[truth["Frontal/Lateral"] == "Frontal"]
    data = folder / "nih"
    (data / "images").mkdir(parents=True)
    number = truth["Path"].str.extract(r"patient(\d+)")[0].astype(int)
    follow_up = truth.groupby(number).cumcount()
    names = [f"{one:08d}_{at:03d}.png" for one, at in zip(number, follow_up, strict=True)]
    for name, path in zip(names, truth["Path"], strict=True):
        with Image.open(drawn.folder.parent / path) as image:
            image.convert("L").save(data / "images" / name)
    found = [
        [theirs for ours, theirs in FINDINGS.items() if row[ours] == 1]
        for _, row in truth.iterrows()
    ]
    pd.DataFrame(
        {
            "Image Index": names,
            "Finding Labels": ["|".join(these) or "No Finding" for these in found],
            "Follow-up #": follow_up,
            "Patient ID": number,
            "Patient Age": truth["Age"],
            "Patient Gender": truth["Sex"].str[0],
            "View Position": truth["AP/PA"],
        }
    ).to_csv(data / "Data_Entry_2017.csv", index=False)
    return data
