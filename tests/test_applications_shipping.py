"""Out of the notebook: cards, recipes of one file, proposals, replicas, and what tells a cluster of them."""

import ast
import os
import re
import sys

import numpy as np
import psutil
import pytest
import torch
import yaml
from starlette.testclient import TestClient

from aigc_course import applications, evaluation, lora, models, runtime, scenes, serving

SHIPPING = runtime.data_dir() / "shipping"
LACQUER = runtime.data_dir() / "recipes" / "lacquer.py"


# --- differences and cards -----------------------------------------------------------------------------------


def test_pairs_tell_a_difference_that_two_intervals_hide():
    before = torch.arange(40) < 20
    after = torch.arange(40) < 28
    apart = evaluation.interval(before), evaluation.interval(after)
    together = applications.paired(before, after)
    assert apart[0].high > apart[1].low  # the two overlap
    assert together.low > 0
    assert together.mean == pytest.approx(0.2)


def test_a_difference_of_other_prompts_is_refused():
    with pytest.raises(ValueError, match="the same prompts"):
        applications.paired(torch.ones(3), torch.ones(4))


@pytest.mark.parametrize("difference", [0.1, 0.2, 0.5])
def test_so_many_pairs_are_needed_and_no_fewer(difference):
    n = applications.pairs_needed(difference)
    half = 1.96 * (0.5 / n) ** 0.5
    assert half <= difference < 1.96 * (0.5 / (n - 1)) ** 0.5 + 1e-4


def figures():
    before = {"in the new style": torch.tensor([0, 0, 0, 1]).bool(), "things in it": torch.tensor([1, 1, 0, 1]).bool()}
    after = {"in the new style": torch.tensor([1, 1, 1, 1]).bool(), "things in it": torch.tensor([1, 0, 0, 1]).bool()}
    return applications.compare(before, after)


def written(folder, **more):
    told = dict(name="lora-x", about="A LoRA.", use="pass", figures=figures(), fails="It leaks.") | more
    return applications.write_model_card(folder, **told)


def test_a_card_is_read_as_it_was_written(tmp_path):
    card = written(tmp_path)
    again = applications.read_model_card(tmp_path)
    assert again.data.to_dict() == card.data.to_dict()
    assert again.content == card.content
    assert again.data.license == "cc-by-4.0"
    assert [result.metric_value for result in again.data.eval_results] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("license: cc-by-4.0\n", "", "does not tell license"),
        ("base_model: text-to-image\n", "", "does not tell base_model"),
        ("## Fails", "## Praise", "no part '## Fails'"),
        ("value: 0.5", "value: 0.6", "otherwise than the head"),
        ("value: 1.0", "value: 1.5", "lies in its interval"),
        ("language:", "language: [", "cannot be read"),
        ("interval:", "range:", "has no interval"),
    ],
)
def test_a_card_that_hides_or_bends_something_is_refused(tmp_path, old, new, said):
    written(tmp_path)
    file = tmp_path / "README.md"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(said)):
        applications.read_model_card(tmp_path)


def test_a_card_without_a_figure_or_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no README.md"):
        applications.read_model_card(tmp_path)
    written(tmp_path, figures=[])
    with pytest.raises(ValueError, match="tells no figure"):
        applications.read_model_card(tmp_path)


# --- recipes -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lacquer():
    """The recipe that ships, and the judge of its style."""
    recipe = applications.load_recipe(LACQUER)
    return recipe, applications.StyleJudge(recipe)


def test_the_recipe_that_ships_can_be_taught(lacquer):
    recipe, judge = lacquer
    seen = applications.check_recipe(recipe, judge)
    assert seen.seconds < 0.25 and seen.read.mean > 0.5 and seen.told_apart.mean >= 0.9
    assert recipe.folder == "lora-lacquer"


def test_a_recipe_paints_the_scene_that_its_caption_tells(lacquer):
    one = scenes.sample(0, "train", 1)
    assert lacquer[0].captions([one], "en")[0].endswith(", lacquer style")
    assert lacquer[0].captions([one], "zh")[0].endswith("，漆画")
    assert lacquer[0].pictures([one], 64).shape == (1, 3, 64, 64)


def test_the_judge_of_a_style_does_not_take_others_for_it(lacquer):
    drawn = scenes.samples(16, "validation", seed=1)
    assert lacquer[1].says_so(lacquer[0].pictures(drawn)).float().mean() > 0.9
    assert lacquer[1].says_so(scenes.pictures(drawn)).float().mean() < 0.1


def changed(folder, *pairs):
    """The shipped recipe with some of its text exchanged."""
    text = LACQUER.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    file = folder / "mine.py"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def paint(", "def draw(", "has no paint"),
        ("def paint(", "paint = 3\n\n\ndef draw(", "paint is no function"),
        ('"lacquer"', '"chalk"', "is taken"),
        ('"lacquer"', '"Lacquer"', "small letters"),
        ('"lacquer"', '"../lacquer"', "plain words"),
        ('"lacquer"', "3", "plain words"),
        ('"漆画"', '"lacquer"', "Chinese characters"),
        ('"CC BY 4.0"', '"all rights reserved"', "can take CC BY 4.0 or CC0 1.0"),
        ("from PIL", "from nowhere", "stops with ModuleNotFoundError"),
        ("def paint(", "def paint(:", "is no Python"),
        ('"""Lacquer: colours under dark red varnish, every edge drawn in gold."""', "", "docstring"),
    ],
)
def test_a_file_that_is_no_recipe_gets_one_sentence(tmp_path, old, new, said):
    file = changed(tmp_path, (old, new))
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        applications.load_recipe(file)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"there is no nothing.py"):
        applications.load_recipe("nothing.py")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("return board.reduce(styles.OVERSAMPLE).convert('L')", "must return an RGB picture"),
        ("return board", "must return an RGB picture of 64 × 64"),
        ("return Image.new('RGB', (size, size), GROUND)", "paints an empty picture"),
        ("raise KeyError('gold')", "cannot paint 64 pixels (KeyError: 'gold')"),
        (
            "return board.reduce(styles.OVERSAMPLE).rotate(__import__('random').random() * 90)",
            "paints one scene in two ways",
        ),
        (
            "return board.reduce(styles.OVERSAMPLE).resize((2, 2)).resize((size, size))",
            "keep their shapes in view",
        ),
        (
            "import time; began = time.process_time()\n    while time.process_time() < began + 0.4: pass\n"
            "    return board.reduce(styles.OVERSAMPLE)",
            "s a picture; paint in at most",
        ),
    ],
)
def test_a_style_that_cannot_be_taught_gets_one_sentence(tmp_path, lacquer, end, said):
    file = changed(tmp_path, ("return board.reduce(styles.OVERSAMPLE)", end))
    with pytest.raises(ValueError, match=re.escape(said)):
        applications.check_recipe(applications.load_recipe(file), lacquer[1], count=4)


def test_a_style_that_looks_like_another_is_told(tmp_path):
    text = "from aigc_course.scenes import styles\n"
    file = changed(
        tmp_path,
        ("from aigc_course.scenes import styles\n", text),
        ("return board.reduce(styles.OVERSAMPLE)", "return styles.flat(art, size, rng)"),
    )
    with pytest.raises(ValueError, match="make it look like no other"):
        applications.check_recipe(applications.load_recipe(file), count=8)


@pytest.mark.slow
def test_one_file_becomes_a_folder_that_can_be_proposed(tmp_path, monkeypatch, capsys):
    import new_style

    dials = "--steps 2 --asked 3 --count 8 --batch 4 --look 1".split()
    monkeypatch.setattr(sys, "argv", ["new_style.py", str(LACQUER), *dials, "--folder", str(tmp_path / "new")])
    new_style.main()
    folder = tmp_path / "new" / "lora-lacquer"
    models.verify(folder)
    card = applications.read_model_card(folder)
    assert {result.metric_name for result in card.data.eval_results} >= {"in the new style", "old prompts: colour"}
    assert {file.name for file in folder.iterdir()} == {
        *("README.md", "manifest.json", "recipe.json", "sheet.png", "style.py"),
        lora.UNET[0],
    }
    pipe = models.load("text-to-image")
    with models.storage.quiet():
        pipe.load_lora_weights(folder, adapter_name="lacquer")
    assert pipe.get_list_adapters() == {"unet": ["lacquer"]}
    assert lora.load(models.load("text-to-image").unet, folder, "style")
    told = capsys.readouterr().out
    assert "pull request" in told and "judged by another's prompt" in told


def test_a_bad_recipe_ends_the_script_with_one_sentence(tmp_path, monkeypatch):
    import new_style

    monkeypatch.setattr(sys, "argv", ["new_style.py", str(changed(tmp_path, ('"漆画"', "'x'")))])
    with pytest.raises(SystemExit, match="Chinese characters"):
        new_style.main()


def test_an_exam_asks_in_both_languages_and_knows_its_ceiling(lacquer):
    exam = applications.Exam(*lacquer, count=6)
    new, old = exam.prompts
    assert [prompt.isascii() for prompt in new] == [True, False] * 3
    assert len(old) == len(exam.old) == 6
    drawn = applications.Answers(lacquer[0].pictures(exam.new), scenes.pictures(exam.old))
    marks, shuffled = exam.marks(drawn), exam.marks(drawn, shuffled=True)
    assert marks["in the new style"].float().mean() > 0.8
    assert marks["old prompts: in the new style"].float().mean() < 0.3
    assert marks["old prompts: thing"].float().mean() > shuffled["old prompts: thing"].float().mean() + 0.5


# --- replicas ------------------------------------------------------------------------------------------------


def test_limits_are_read_from_the_environment():
    found = serving.limits_from({"AIGC_LIMIT_WAITING": "8", "AIGC_LIMIT_SECONDS": "2.5", "HOME": "/"})
    assert found == serving.Limits(waiting=8, seconds=2.5)
    assert serving.limits_from({}) == serving.Limits()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AIGC_LIMIT_WAITING", "many", "is no number, such as 16"),
        ("AIGC_LIMIT_WAITING", "2.5", "is no number, such as 16"),
        ("AIGC_LIMIT_SECONDS", "-1", "larger than 0"),
        ("AIGC_LIMIT_PATIENCE", "1", "no limit is called AIGC_LIMIT_PATIENCE; there are: AIGC_LIMIT_WAITING"),
    ],
)
def test_a_limit_that_makes_no_sense_ends_the_start(name, value, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        serving.limits_from({name: value})


def test_every_answer_of_a_replica_names_its_process(monkeypatch):
    monkeypatch.setenv("AIGC_LIMIT_STEPS", "3")
    with TestClient(serving.create()) as client:
        assert client.get("/health").headers["x-replica"] == str(os.getpid())
        answer = client.post("/imagine", json={"prompt": "a cat --steps 4"})
        assert answer.status_code == 400 and "--steps 3" in answer.json()["fix"]


def test_no_replica_is_no_service():
    with pytest.raises(ValueError, match="at least one replica"), serving.replicas(0):
        pass


def test_a_service_that_cannot_start_says_so():
    with pytest.raises(RuntimeError, match="did not start"), serving.replicas(1, {"AIGC_LIMIT_WAITING": "0"}):
        pass


@pytest.mark.slow
def test_two_processes_answer_and_one_that_is_killed_is_replaced():
    with serving.replicas(2) as running:
        first = running.who(wanted=2)
        assert len(first) == 2 and set(running.memory()) == first
        psutil.Process(min(first)).kill()
        second = running.who(60, wanted=2, without=min(first))
        assert len(second) == 2 and max(first) in second
        supervisor = running.process
    assert supervisor.poll() is not None


# --- manifests -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifest():
    """The parts of the cluster's manifest by kind."""
    text = (SHIPPING / "kubernetes.yaml").read_text(encoding="utf-8")
    return {part["kind"]: part for part in yaml.safe_load_all(text)}


@pytest.fixture
def container(manifest):
    """The one container of a pod."""
    (one,) = manifest["Deployment"]["spec"]["template"]["spec"]["containers"]
    return one


def bytes_of(text):
    return int(text.removesuffix("Mi")) * 2**20


def test_the_three_parts_find_one_another(manifest):
    deployment = manifest["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    assert manifest["Service"]["spec"]["selector"].items() <= labels.items()
    scaled = manifest["HorizontalPodAutoscaler"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == manifest["Deployment"]["metadata"]["name"]
    assert scaled["minReplicas"] <= deployment["replicas"] <= scaled["maxReplicas"]


def test_a_pod_runs_what_replicas_run_here(container):
    command = container["command"]
    assert command[command.index("--factory") + 1] == serving.replica.APP
    assert "--workers" not in command  # one process a pod
    (port,) = container["ports"]
    assert str(port["containerPort"]) == command[command.index("--port") + 1]
    last = (SHIPPING / "Containerfile").read_text(encoding="utf-8").splitlines()[-1]
    assert ast.literal_eval(last.removeprefix("CMD ")) == command


def test_ports_have_the_names_that_probes_and_service_use(manifest, container):
    names = {port["name"] for port in container["ports"]}
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["port"] for probe in probes} | {manifest["Service"]["spec"]["ports"][0]["targetPort"]} <= names
    with TestClient(serving.create()) as client:
        assert all(client.get(probe["path"]).status_code == 200 for probe in probes)


def test_settings_are_ones_that_the_service_reads(manifest, container):
    limits = serving.limits_from({one["name"]: one["value"] for one in container["env"]})
    assert limits != serving.Limits()
    grace = manifest["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > limits.seconds


def test_a_pod_asks_for_the_memory_that_was_measured(container):
    told = (runtime.data_dir() / "bench" / "ship.md").read_text(encoding="utf-8")
    measured = max(float(size) for size in re.findall(r"([\d.]+) MB", told)) * 1e6
    asked, most = (bytes_of(container["resources"][kind]["memory"]) for kind in ("requests", "limits"))
    assert measured <= asked <= 1.3 * measured
    assert most >= 1.4 * measured


def test_an_autoscaler_needs_the_cpu_that_a_pod_asks_for(manifest, container):
    (metric,) = manifest["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["resource"]["name"] in container["resources"]["requests"]
    assert 0 < metric["resource"]["target"]["averageUtilization"] < 100


def test_every_line_of_the_manifest_that_sets_a_number_says_why():
    lines = (SHIPPING / "kubernetes.yaml").read_text(encoding="utf-8").splitlines()
    chosen = r"(replicas|Replicas|GracePeriodSeconds|WindowSeconds|value|memory|Port|averageUtilization): .*\d"
    numbers = [line for line in lines if re.search(chosen, line)]
    assert len(numbers) >= 10 and all("#" in line for line in numbers)


def test_the_sketch_for_ray_names_what_there_is():
    tree = ast.parse((SHIPPING / "ray_serve.py").read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.value.id == "serving"}
    assert used == {"create"} and callable(serving.create)
    assert np.all([hasattr(serving, name) for name in used])
