"""Sources as their files describe them: what is understood, and what a mistake is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from elt.contracts import get_contract
from elt.errors import ConfigurationError, NotFound
from elt.settings import Settings
from elt.sources.configuration import find_source, kinds, load_sources, read_source_file
from elt.sources.tables import TableSpec, range_of, shape_of

SCHOOL = "name: school\nkind: rosariosis\naddress: ROSARIOSIS_URL\nschool_id: zacrac\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "sources").mkdir()
    return Settings(
        home=tmp_path,
        database_url=SecretStr("postgresql://nowhere/none"),
        secret_key=SecretStr("a-key-for-tests-only-0123456789abcdef"),
        pseudonym_key=SecretStr("a-key-of-pseudonyms-for-tests-only"),
    )


def write(settings: Settings, content: str, name: str = "school.yaml") -> Path:
    path = settings.home / "sources" / name
    path.write_text(content, "utf-8")
    return path


def test_no_folder_means_no_sources(settings: Settings) -> None:
    (settings.home / "sources").rmdir()
    assert load_sources(settings) == []


def test_every_kind_fits_its_contracts() -> None:
    assert sorted(kinds()) == ["exam_results", "pisa", "rosariosis"]
    assert len(kinds()["rosariosis"].tables) == 17
    assert {table.dataset for table in kinds()["rosariosis"].tables} == {
        f"rosariosis_{table.table}" for table in kinds()["rosariosis"].tables
    }


def test_four_lines_make_a_source(settings: Settings) -> None:
    write(settings, SCHOOL)
    source = find_source(settings, "school")
    assert (source.school_id, source.principal_id) == ("zacrac", "source:school")
    address = source.address({"ROSARIOSIS_URL": "mysql://a:b@c/d"})
    assert address.get_secret_value() == "mysql://a:b@c/d"


def test_an_address_may_stand_in_a_file_or_in_laurel_env(settings: Settings, tmp_path: Path) -> None:
    from elt.sources.configuration import environment_of

    write(settings, SCHOOL)
    source = find_source(settings, "school")
    secret = tmp_path / "secret"
    secret.write_text("mysql://from-a-file\n")
    assert source.address({"ROSARIOSIS_URL_FILE": str(secret)}).get_secret_value() == "mysql://from-a-file"
    (settings.home / "laurel.env").write_text("ROSARIOSIS_URL=mysql://from-laurel-env\n")
    assert source.address(environment_of(settings)).get_secret_value() == "mysql://from-laurel-env"
    (settings.home / "sources" / "school.env").write_text("ROSARIOSIS_URL=mysql://from-beside\n")
    assert source.address(environment_of(settings)).get_secret_value() == "mysql://from-beside"
    with pytest.raises(ConfigurationError, match="ROSARIOSIS_URL is not set"):
        source.address({})


def test_one_file_makes_a_source_for_every_country(settings: Settings) -> None:
    write(settings, "name: pisa\nkind: pisa\naddress: PISA_{country}_URL\neach: {country: [ALB, ARG]}\n")
    found = load_sources(settings)
    assert [(source.name, source.address_variable) for source in found] == [
        ("pisa-alb", "PISA_ALB_URL"),
        ("pisa-arg", "PISA_ARG_URL"),
    ]


def test_one_that_is_switched_off_is_none(settings: Settings) -> None:
    write(settings, SCHOOL + "enabled: false\n")
    assert load_sources(settings) == []
    with pytest.raises(NotFound, match="there are: none"):
        find_source(settings, "school")


def test_a_database_of_ones_own_takes_a_few_lines(settings: Settings) -> None:
    write(
        settings,
        "name: exams\naddress: EXAMS_URL\n"
        "kind:\n  title: Our exams\n  tables:\n"
        "    - {table: public.results, dataset: exam_results, columns: {exam_number: candidate}}\n",
    )
    (spec,) = find_source(settings, "exams").kind.table_specs()
    assert spec.source_column("exam_number") == "candidate"
    assert spec.source_column("subject") == "subject"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: [", "school.yaml: this is no YAML"),
        ("", "school.yaml: "),
        (SCHOOL.replace("school\n", "My School\n", 1), "name 'My School': lower-case letters"),
        (SCHOOL.replace("ROSARIOSIS_URL", "mysql://u:hush@h/d"), "names of environment variables"),
        (SCHOOL.replace("rosariosis\n", "oracle\n"), "there is no 'oracle'; one of: exam_results, pisa"),
        (SCHOOL + "schol_id: x\n", "schol_id: Extra inputs are not permitted"),
        (SCHOOL.replace("ROSARIOSIS_URL", "PISA_{land}_URL"), "{land} stands for nothing"),
        (SCHOOL + "utc_offset: Lagos\n", "utc_offset: "),
        (
            "name: a\naddress: A_URL\nkind: {title: t, tables: [{table: x, dataset: nothing}]}\n",
            "'nothing' is no dataset; one of: academic_history",
        ),
        (
            "name: a\naddress: A_URL\nkind: {title: t, tables: [{table: x, dataset: students}]}\n",
            "needs a primaryKey and a field is_deleted",
        ),
        (
            "name: a\naddress: A_URL\n"
            "kind: {title: t, tables: [{table: x, dataset: exam_results, columns: {mark: m}}]}\n",
            "dataset exam_results has no column mark",
        ),
        ("name: a\naddress: A_URL\nkind: {title: t}\n", "list either tables"),
    ],
)
def test_mistakes_are_named_with_the_file_and_the_key(settings: Settings, content: str, message: str) -> None:
    path = write(settings, content)
    with pytest.raises(ConfigurationError) as caught:
        read_source_file(path, "main")
    assert message in caught.value.detail
    assert "school.yaml" in caught.value.detail
    assert "hush" not in caught.value.detail


def test_two_sources_of_one_name_are_refused(settings: Settings) -> None:
    write(settings, SCHOOL)
    write(settings, SCHOOL, "other.yaml")
    with pytest.raises(ConfigurationError, match="another source of the name 'school'"):
        load_sources(settings)


def test_a_table_is_cut_by_its_first_whole_number() -> None:
    contract = get_contract("pisa_responses")
    types = {"cnt": "text", "id": "bigint", "escs": "numeric", "extra": "text"}
    shape = shape_of("r", contract, types, TableSpec("r", contract.name), whole_numbers=["bigint"])
    assert (shape.key, shape.range_column, shape.is_numbered) == (("cnt", "id"), "id", True)
    assert "column extra is new at the source and not loaded" in shape.findings
    texts = shape_of("r", contract, {**types, "id": "text"}, TableSpec("r", contract.name))
    assert (texts.range_column, texts.is_numbered) == ("cnt", False)


def test_texts_fall_into_256_ranges() -> None:
    numbers = {range_of(f"CAND{number:05}") for number in range(5000)}
    assert numbers == set(range(256))
    assert range_of("Adé") == 225  # as md5 begins, in every database
