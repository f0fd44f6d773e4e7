"""A campaign as a Workflow Run RO-Crate: serves ``agd export``.

In: finished stage parts with their times and files, and the files of the crate. Out: the content of
``ro-crate-metadata.json`` after the Provenance Run Crate profile 0.5: the workflow with a step a
stage, and an action a stage part with what went in and came out. Every path is relative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

PROFILES = (
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/ro/wfrun/provenance/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)
CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
]
WORKFLOW, CONFIG, CANDIDATES = "workflow/pipeline.py", "campaign.json", "candidates.optimade.jsonl"
_MEDIA = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".csv": "text/csv",
    ".html": "text/html",
    ".py": "text/x-python",
    ".parquet": "application/vnd.apache.parquet",
}

Entity = dict[str, Any]


class CrateFile(NamedTuple):
    """A file of the crate: its path, size in bytes, SHA-256 and what it is."""

    path: str
    size: int
    sha256: str
    what: str


class Part(NamedTuple):
    """A finished stage part: stage, part, when it ended (ISO 8601), its seconds and its files."""

    stage: str
    part: str
    ended: str
    seconds: float
    files: tuple[str, ...]


class Run(NamedTuple):
    """What a crate tells.

    Attributes
    ----------
    name : str
        Of the campaign.
    product : str
        Version of the product.
    parts : sequence of Part
        In the order in which they ended; at least one.
    files : mapping of str to CrateFile
        By path.
    stages : mapping of str to str
        What each stage does, in the order of the workflow.
    licence : str
        Address; empty where none is stated.
    """

    name: str
    product: str
    parts: Sequence[Part]
    files: Mapping[str, CrateFile]
    stages: Mapping[str, str]
    licence: str = ""


def metadata(run: Run) -> Entity:
    """Return the document of a crate."""
    begun, ended = _begun(run.parts[0]), run.parts[-1].ended
    made = {path for part in run.parts for path in part.files}
    results = [p for p in (CANDIDATES, *sorted(made)) if p in run.files]
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Campaign {run.name}",
        "description": f"A campaign of active generative design of inorganic materials: {run.name}",
        "datePublished": ended,
        "conformsTo": [_ref(profile) for profile in PROFILES],
        "hasPart": [_ref(path) for path in sorted(run.files)],
        "mainEntity": _ref(WORKFLOW),
        "mentions": [_ref("#run"), *(_ref(_action(part)) for part in run.parts)],
    }
    if run.licence:
        root["license"] = _ref(run.licence)
    graph = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": _ref("./"),
            "conformsTo": [_ref("https://w3id.org/ro/crate/1.1"), _ref(PROFILES[-1])],
        },
        root,
        *({"@id": p, "@type": "CreativeWork", "name": _title(p), "version": p.rsplit("/", 1)[-1]}
          for p in PROFILES),
        *({"@id": licence, "@type": "CreativeWork", "name": licence.rsplit("/", 1)[-1]}
          for licence in filter(None, [run.licence])),
        *_workflow(run),
        *_actions(run, begun, ended, results),
        *(_file(file) for path, file in sorted(run.files.items()) if path != WORKFLOW),
    ]  # fmt: skip
    return {"@context": CONTEXT, "@graph": graph}


def _workflow(run: Run) -> list[Entity]:
    """Return the workflow, its language, its steps and the tools behind them."""
    file = run.files[WORKFLOW]
    done = [stage for stage in run.stages if any(p.stage == stage for p in run.parts)]
    workflow = _file(file) | {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "agd",
        "version": run.product,
        "programmingLanguage": _ref("#python"),
        "step": [_ref(f"#step-{stage}") for stage in done],
        "hasPart": [_ref(f"#tool-{stage}") for stage in done],
        "input": [_ref("#parameter-configuration")],
        "output": [_ref("#parameter-candidates")],
    }
    steps: list[Entity] = []
    for position, stage in enumerate(done):
        steps.append(
            {
                "@id": f"#step-{stage}",
                "@type": "HowToStep",
                "name": stage,
                "position": str(position),
                "workExample": _ref(f"#tool-{stage}"),
            }
        )
        steps.append(
            {
                "@id": f"#tool-{stage}",
                "@type": "SoftwareApplication",
                "name": f"agd {stage}",
                "description": run.stages[stage],
                "version": run.product,
            }
        )
    parameters = [
        _parameter("#parameter-configuration", "configuration", "File"),
        _parameter("#parameter-candidates", "candidates", "File"),
    ]
    language = {
        "@id": "#python",
        "@type": "ComputerLanguage",
        "name": "Python",
        "url": _ref("https://www.python.org"),
        "identifier": _ref("https://www.python.org"),
    }
    engine = {
        "@id": "#engine",
        "@type": "SoftwareApplication",
        "name": "agd-pipeline",
        "version": run.product,
    }
    return [workflow, language, engine, *parameters, *steps]


def _parameter(id: str, name: str, kind: str) -> Entity:
    return {
        "@id": id,
        "@type": "FormalParameter",
        "name": name,
        "additionalType": kind,
        "conformsTo": _ref("https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"),
        "valueRequired": True,
    }


def _actions(run: Run, begun: str, ended: str, results: list[str]) -> list[Entity]:
    """Return the run as a whole, and what each stage part did."""
    agent = {"@id": "#agd", "@type": "Organization", "name": "agd-pipeline"}
    whole = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Run of campaign {run.name}",
        "instrument": _ref(WORKFLOW),
        "agent": _ref("#agd"),
        "object": [_ref(CONFIG)],
        "result": [_ref(path) for path in results],
        "startTime": begun,
        "endTime": ended,
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    organised = {
        "@id": "#organised",
        "@type": "OrganizeAction",
        "name": "The stages in their order",
        "instrument": _ref("#engine"),
        "agent": _ref("#agd"),
        "object": [_ref(f"{_action(part)}-control") for part in run.parts],
        "result": _ref("#run"),
        "startTime": begun,
        "endTime": ended,
    }
    each: list[Entity] = []
    before = [CONFIG]
    last = ""
    for part in run.parts:
        if last and part.stage != last:
            before = [CONFIG, *_of_stage(run, last)]
        last = part.stage
        action = {
            "@id": _action(part),
            "@type": "CreateAction",
            "name": f"{part.stage} {part.part}",
            "instrument": _ref(f"#tool-{part.stage}"),
            "agent": _ref("#agd"),
            "object": [_ref(path) for path in before],
            "result": [_ref(path) for path in part.files if path in run.files],
            "startTime": _begun(part),
            "endTime": part.ended,
            "actionStatus": "http://schema.org/CompletedActionStatus",
        }
        control = {
            "@id": f"{_action(part)}-control",
            "@type": "ControlAction",
            "name": f"orchestrate {part.stage} {part.part}",
            "instrument": _ref(f"#step-{part.stage}"),
            "object": [_ref(_action(part))],
        }
        each += [action, control]
    return [agent, whole, organised, *each]


def _of_stage(run: Run, stage: str) -> list[str]:
    paths = {p: None for part in run.parts if part.stage == stage for p in part.files}
    return [path for path in paths if path in run.files]


def _file(file: CrateFile) -> Entity:
    ending = file.path[file.path.rfind(".") :]
    entity: Entity = {
        "@id": file.path,
        "@type": "File",
        "name": file.what,
        "contentSize": str(file.size),
        "sha256": file.sha256,
        "encodingFormat": _MEDIA.get(ending, "application/octet-stream"),
    }
    example = {CONFIG: "#parameter-configuration", CANDIDATES: "#parameter-candidates"}
    if file.path in example:
        entity["exampleOfWork"] = _ref(example[file.path])
    return entity


def _begun(part: Part) -> str:
    ended = datetime.fromisoformat(part.ended)
    return (ended - timedelta(seconds=part.seconds)).isoformat()


def _action(part: Part) -> str:
    return f"#{part.stage}-{part.part}"


def _title(profile: str) -> str:
    return profile.rsplit("/", 2)[-2].replace("-", " ").capitalize()


def _ref(id: str) -> Entity:
    return {"@id": id}
