"""The configuration of a study, checked when it is created.

Every field's description ends its error line after "allowed: ". Values are checked strictly: text
is no number, and true is not 1. `tuner.space.load` reads files.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from metrics.contract import DLIB, OBJECTIVES, SET_OBJECTIVES, SFACE, Domain
from tuner.space.parameters import Parameter, Value, extremes
from tuner.space.problems import WORDS
from tuner.space.recipes import Hypothesis, Recipe
from tuner.space.suite import JudgedConfig, SuiteConfig
from tuner.space.train_config import NAME, NAME_RULE, StrictModel, TrainConfig
from tuner.storage import shipped

MANNEQUIN = "mannequin"
FACE = "face"
"""Gender model of studies that have no open_clip model: the face alone is read."""
"""The word for the shipped base, data set and judge."""

NO_IDENTITY = "none"
IDENTITY_WORDS = (DLIB, SFACE, NO_IDENTITY)
"""The words of `identity_model` that name no file; with `none` faces are not looked at."""

ORIGINALS, OF_BASE = "originals", "base"
"""The words of `regularisation` that name no folder: the whole pictures of the crops, and pictures
that the base draws."""

ALL_OBJECTIVES = OBJECTIVES + SET_OBJECTIVES
RATES = ("undressed_rate", "explicit_rate")

_Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
_Base = Annotated[str, StringConstraints(min_length=1)]


class BudgetConfig(StrictModel):
    """Number of trials, their rungs, and the share of trials that goes on at each rung.

    `rungs` are the optimizer steps at which each trial is sampled and scored. Below its last rung a
    trial goes on if it is among the best share `keep` of the trials that reached the rung so far,
    as soon as there are `keep_from` of them; with 1 all go on. `low_rung_seeds` is the number of
    noise seeds per prompt at these rungs (None: all of the suite's); the last rung has the whole
    suite. `confirm` is the number of strongest trials confirmed on fresh noise at the end, and
    `confirm_samples` the fresh samples of each (rounded up to whole noise seeds per prompt),
    `confirm_repeats` how often each is trained again for that, with other seeds. `hours` limits the
    time of all runs together, `gpu_hours` the sum of the workers' times at work, the confirmation
    included (None: no limit); `trials` stays a limit beside them.
    """

    trials: int = Field(default=12, ge=1, le=100_000, description="a whole number from 1 to 100000")
    rungs: tuple[int, ...] = Field(
        strict=False, min_length=1, description="a list of ascending whole numbers from 1"
    )
    keep: float = Field(
        default=1.0, gt=0, le=1, description="a number in (0, 1]; 1 stops no trial for being poor"
    )
    keep_from: int = Field(default=4, ge=2, description="a whole number from 2")
    low_rung_seeds: int | None = Field(
        default=None, ge=1, description="null (all) or a whole number from 1 to suite.seeds"
    )
    confirm: int = Field(default=0, ge=0, le=100, description="a whole number from 0 to 100")
    confirm_samples: int = Field(
        default=104, ge=1, le=100_000, description="a whole number from 1 to 100000"
    )
    confirm_repeats: int = Field(
        default=2, ge=0, le=100, description="a whole number from 0 to 100"
    )
    hours: float | None = Field(default=None, gt=0, description="null or a number above 0")
    gpu_hours: float | None = Field(default=None, gt=0, description="null or a number above 0")

    @field_validator("rungs", mode="before")
    @classmethod
    def _ascend(cls, value: object) -> object:
        if not isinstance(value, list | tuple) or any(type(step) is not int for step in value):
            raise ValueError("not whole numbers")
        if list(value) != sorted(set(value)) or any(step < 1 for step in value):
            raise ValueError("not ascending")
        return value


class JudgeConfig(StrictModel):
    """Models of the judges.

    `gender_model` is `NAME/PRETRAINED` in open_clip's notation, a folder with an open_clip model,
    `mannequin`, or `face` for the face alone, on photographs; None means the mannequin's own for
    the mannequin, else ViT-L-14/openai.
    `person_model` is a folder with a YOLO like the mannequin's, a `.pt` file of ultralytics, or
    `mannequin`; None means the mannequin's own for the mannequin, else persons on
    photographs are counted by poses and faces.
    `copy_model` finds copies of training images, in the notation of metrics.detectors.embedding;
    None means the gender model. `pose_model` (a ViTPose, or a `.pt` file of ultralytics),
    `parser_model` (a human parser) and `vlm` (a vision-language model) are hub ids or folders, each
    for a judge of its own, which is left out if it is None. `identity_model` (`dlib`, `sface` or an
    `.onnx` file) tells faces apart for the measure `identity`; `none` leaves it out, None means
    dlib where its packages are installed. `sex_threshold` is the probability of a
    woman from which a picture counts as one of a woman, as `tuner selfcheck` measures it; None: one
    half. `domain` is the kind of pictures that the base draws; None means drawn for the mannequin,
    else photographic.
    """

    gender_model: str | None = Field(
        default=None, min_length=1, description="null, mannequin, face, NAME/PRETRAINED or a folder"
    )
    person_model: str | None = Field(
        default=None, min_length=1, description="null, mannequin, a folder or a .pt file"
    )
    copy_model: str | None = Field(
        default=None, min_length=1, description="null, mannequin, a model's name, folder or file"
    )
    pose_model: str | None = Field(
        default=None, min_length=1, description="null, OWNER/NAME, a folder or a .pt file"
    )
    parser_model: str | None = Field(
        default=None, min_length=1, description="null, OWNER/NAME or a folder"
    )
    vlm: str | None = Field(default=None, min_length=1, description="null, OWNER/NAME or a folder")
    identity_model: str | None = Field(
        default=None,
        description="null, dlib, sface, none or an .onnx file",
        json_schema_extra={WORDS: [*IDENTITY_WORDS]},
    )
    sex_threshold: float | None = Field(
        default=None, gt=0, lt=1, description="null (one half) or a number between 0 and 1"
    )
    domain: Domain | None = Field(
        default=None, description="null (told by the base), drawn, photographic"
    )

    @field_validator("identity_model")
    @classmethod
    def _known_identity(cls, value: str | None) -> str | None:
        if value is not None and value not in IDENTITY_WORDS and not value.endswith(".onnx"):
            raise ValueError("not a model of faces")
        return value

    def domain_for(self, base: str) -> Domain:
        """Return the kind of pictures that `base` draws."""
        if self.domain is not None:
            return self.domain
        return "drawn" if base == MANNEQUIN else "photographic"

    def gender_model_for(self, base: str) -> str:
        """Return the gender judge's model for a study on `base`."""
        if self.gender_model is not None:
            return self.gender_model
        return MANNEQUIN if base == MANNEQUIN else "ViT-L-14/openai"

    def person_model_for(self, base: str) -> str | None:
        """Return the person detector for a study on `base`; None if there is none."""
        if self.person_model is not None:
            return self.person_model
        return MANNEQUIN if base == MANNEQUIN else None


Sampler = Literal["tpe_strength", "tpe", "gp", "nsga2", "random", "grid"]
"""Optuna samplers that choose the parameters of the next trial; see tuner.study.samplers."""

Compile = Literal["auto", "always", "never"]
"""When training and sampling run the UNet compiled; see tuner.worker.compiling."""


class StudyConfig(StrictModel):
    """A whole study, as `load_study` reads it from a search space and its overrides."""

    study: _Name = Field(description=f"{NAME_RULE}; no name of a device, no dot at the end")
    base: str = Field(
        min_length=1,
        description="mannequin, a hub id OWNER/NAME, a diffusers folder or a .safetensors file",
    )
    base_prediction: Literal["epsilon", "v", "v_ztsnr"] | None = Field(
        default=None, description="null (read from the base), epsilon, v, v_ztsnr"
    )
    judged: JudgedConfig | None = Field(
        default=None, description=f"null or {{{', '.join(JudgedConfig.model_fields)}}}"
    )
    data: str | dict[str, str] = Field(
        description="mannequin, mannequin:VARIANT "
        f"({', '.join(shipped.DATA_VARIANTS)}), a folder, or {{name: folder, ...}}",
        json_schema_extra={WORDS: [f"mannequin:{name}" for name in shipped.DATA_VARIANTS]},
    )
    also_sample_on: tuple[_Base, ...] = Field(
        default=(), strict=False, description="a list of further bases, none of them twice"
    )
    regularisation: str | None = Field(
        default=None, min_length=1, description="null, originals, base, or a folder as in data"
    )
    budget: BudgetConfig = Field(description=f"{{{', '.join(BudgetConfig.model_fields)}}}")
    objectives: tuple[str, ...] = Field(
        default=OBJECTIVES,
        strict=False,
        description=f"a list of {', '.join(ALL_OBJECTIVES)}, each once",
        json_schema_extra={WORDS: [*ALL_OBJECTIVES]},
    )
    constraints: dict[str, float] = Field(
        default={}, description=f"each of {', '.join(RATES)} with its limit in [0, 1]"
    )
    suite: SuiteConfig = Field(default_factory=SuiteConfig, description="keys and values")
    train: dict[str, Parameter] = Field(default={}, description="training keys and their values")
    start_from: tuple[dict[str, Value], ...] = Field(
        default=(), description="a list of starting points"
    )
    recipes: dict[str, Recipe] = Field(default={}, description="{name: {training key: value}}")
    training_seeds: tuple[int, ...] = Field(
        default=(),
        strict=False,
        description="a whole number from 1 to 1000, or a list of ascending whole numbers from 0",
    )
    hypotheses: tuple[Hypothesis, ...] = Field(default=(), description="a list of hypotheses")
    sampler: Sampler = Field(default="tpe_strength", description=", ".join(get_args(Sampler)))
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="a whole number from 0, less than 2^32"
    )
    compile: Compile = Field(default="auto", description=", ".join(get_args(Compile)))
    judges: JudgeConfig = Field(default_factory=JudgeConfig, description="models by key")
    storage: str | None = Field(
        default=None,
        description="null (optuna.db) or postgresql://USER@HOST/DATABASE, without a password",
    )

    @field_validator("data")
    @classmethod
    def _data_names(
        cls, value: str | dict[str, str], others: ValidationInfo
    ) -> str | dict[str, str]:
        if not value and others.data.get("judged") is not None:
            return {}
        names = [value] if isinstance(value, str) else [*value, *value.values()]
        if not names or not all(names):
            raise ValueError("no folder")
        if isinstance(value, dict) and not all(NAME.fullmatch(name) for name in value):
            raise ValueError("not a name")
        for each in [value] if isinstance(value, str) else value.values():
            shipped.data_variant(each)
        return value

    @field_validator("also_sample_on")
    @classmethod
    def _other_bases(cls, value: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if len({*value, others.data.get("base")}) <= len(value):
            raise ValueError("a base is listed twice")
        return value

    @field_validator("regularisation")
    @classmethod
    def _is_source(cls, value: str | None) -> str | None:
        if value is not None:
            shipped.data_variant(value)
        return value

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value) or not set(value) <= set(ALL_OBJECTIVES):
            raise ValueError("unknown, doubled or none")
        return value

    @field_validator("constraints")
    @classmethod
    def _known_rates(cls, value: dict[str, float]) -> dict[str, float]:
        if not set(value) <= set(RATES) or not all(0 <= limit <= 1 for limit in value.values()):
            raise ValueError("unknown or out of [0, 1]")
        return value

    @field_validator("training_seeds", mode="before")
    @classmethod
    def _are_seeds(cls, value: object) -> object:
        if type(value) is int and 1 <= value <= 1000:
            return tuple(range(value))
        if not isinstance(value, list | tuple) or any(type(seed) is not int for seed in value):
            raise ValueError("no seeds")
        if list(value) != sorted(set(value)) or any(not 0 <= seed < 10**6 for seed in value):
            raise ValueError("not ascending")
        return value

    def tried(self, name: str) -> tuple[Value, ...]:
        """Return the values of trials for the training key `name`; of a range its ends."""
        common = extremes(self.train[name]) if name in self.train else ()
        own = [recipe.train[name] for recipe in self.recipes.values() if name in recipe.train]
        return tuple(dict.fromkeys([*common, *own])) or (TrainConfig.model_fields[name].default,)

    @property
    def data_folders(self) -> dict[str | None, str]:
        """Data folders by their name in `train.data`; the name of a single folder is None."""
        return {None: self.data} if isinstance(self.data, str) else dict(self.data.items())


def rung_steps(train: TrainConfig, budget: BudgetConfig) -> tuple[int, ...]:
    """Return the optimizer steps at which a run of `train` is scored; the last one ends it.

    These are the budget's rungs; if `train.steps` is set, the rungs below it and `train.steps`.
    """
    if train.steps is None:
        return budget.rungs
    return (*(rung for rung in budget.rungs if rung < train.steps), train.steps)
