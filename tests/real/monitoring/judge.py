"""Run by an interpreter that has Parsl: asks ``parsl-visualize`` for its pages, or Parsl's queries for their answers.

``judge.py pages URL`` prints the status of each page, ``judge.py answers URL SRC`` what Parsl and Trellis answer.
"""

import json
import os
import sys
from typing import Any


def pages(url: str) -> dict[str, int]:
    import parsl.monitoring.visualization as visualization
    from flask import Flask
    from parsl.monitoring.visualization.models import Task, Workflow, db

    name = "parsl.monitoring.visualization.app"
    app = Flask(name, root_path=os.path.dirname(visualization.__file__))
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    with app.app_context():
        db.create_all()
        from parsl.monitoring.visualization import views  # noqa: F401  # needs the app

        (run,) = Workflow.query.all()
        place = f"/workflow/{run.run_id}"
        wanted = ["/", *(f"{place}/{page}" for page in ("", "task/", "resource_usage"))]
        wanted += [f"{place}/dag_group_by_{what}" for what in ("apps", "states")]
        tasks = Task.query.filter_by(run_id=run.run_id).all()
        wanted += [f"{place}/task/{task.task_id}" for task in tasks]
        wanted += sorted({f"{place}/app/{task.task_func_name}" for task in tasks})
        client = app.test_client()
        return {page: client.get(page).status_code for page in wanted}


def answers(url: str) -> dict[str, Any]:
    import sqlalchemy as sa
    from parsl.monitoring.queries import pandas as theirs

    from trellis.monitoring.queries import frames as ours

    engine = sa.create_engine(url)
    with engine.connect() as connection:
        run = connection.execute(sa.text("SELECT run_id FROM workflow")).scalar_one()
    found: dict[str, Any] = {}
    for side, module in (("theirs", theirs), ("ours", ours)):
        found[side] = {}
        for name in dir(theirs):
            if name.endswith("_for_workflow"):
                frame = getattr(module, name)(run, engine)
                found[side][name] = [list(frame.columns), sorted(map(str, frame.values.tolist()))]
        frame = module.resources_for_task(run, 0, engine)
        found[side]["resources_for_task"] = [list(frame.columns), sorted(map(str, frame.values.tolist()))]
    return found


if __name__ == "__main__":
    sys.path += sys.argv[3:]
    print(json.dumps({"pages": pages, "answers": answers}[sys.argv[1]](sys.argv[2])))
