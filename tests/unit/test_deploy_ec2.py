"""The template for EC2 is sound, and the script that it runs on the machine loses no secret and no data.

The script runs in a real shell, beside programs that stand for those of AWS and of the system.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import cfnlint.decode.cfn_yaml
import pytest

PROJECT = Path(__file__).resolve().parents[2]
TEMPLATE = PROJECT / "deploy/ec2/laurel.yaml"
SCRIPT = PROJECT / "deploy/ec2/machine.sh"

Template = dict[str, Any]


@pytest.fixture(scope="module")
def template() -> Template:
    return dict(cfnlint.decode.cfn_yaml.load(str(TEMPLATE)))


def resources(template: Template, kind: str) -> list[dict[str, Any]]:
    return [each for each in template["Resources"].values() if each["Type"] == kind]


def only(template: Template, kind: str) -> dict[str, Any]:
    (found,) = resources(template, kind)
    return found


def user_data(template: Template) -> str:
    """What cloud-init runs, with the stack's parameters and resources filled in as CloudFormation does."""
    text = str(launch_template(template)["UserData"]["Fn::Base64"]["Fn::Sub"])
    filled = {
        "AWS::Region": "eu-west-1",
        "AWS::StackName": "school",
        "Address.AllocationId": "eipalloc-0a1b",
        "Bucket": "school-bucket-1x",
        "DataVolume": "vol-0a1b2c",
        "DomainName": "laurel.school.example",
        "Repository": "https://git.example/laurel.git",
        "Version": "v0.1.0",
    }
    return re.sub(r"\$\{([\w:.]+)\}", lambda match: filled[match[1]], text)


def launch_template(template: Template) -> dict[str, Any]:
    return dict(only(template, "AWS::EC2::LaunchTemplate")["Properties"]["LaunchTemplateData"])


# --- The template -------------------------------------------------------------------------------------------


def test_cfn_lint_finds_nothing() -> None:
    answer = subprocess.run(
        [
            Path(sys.executable).with_name("cfn-lint"),
            "--non-zero-exit-code",
            "informational",
            "--",
            str(TEMPLATE),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (0, "")


def test_the_bucket_is_versioned_encrypted_and_closed(template: Template) -> None:
    bucket = only(template, "AWS::S3::Bucket")["Properties"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )


def test_the_bucket_answers_by_tls_only(template: Template) -> None:
    policy = only(template, "AWS::S3::BucketPolicy")["Properties"]
    assert policy["Bucket"] == {"Ref": "Bucket"}
    denied = {str(statement["Condition"]): statement for statement in policy["PolicyDocument"]["Statement"]}
    assert set(denied) == {
        str({"Bool": {"aws:SecureTransport": "false"}}),
        str({"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
    }
    for statement in denied.values():
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
        assert statement["Resource"] == [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}]


def test_old_versions_and_unfinished_uploads_go(template: Template) -> None:
    rules = only(template, "AWS::S3::Bucket")["Properties"]["LifecycleConfiguration"]["Rules"]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    assert any("NoncurrentVersionExpiration" in rule for rule in rules)
    assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
    assert not any("ExpirationInDays" in rule for rule in rules), "the store is the truth: it never expires"


def test_no_data_goes_with_the_stack(template: Template) -> None:
    bucket, policy = only(template, "AWS::S3::Bucket"), only(template, "AWS::S3::BucketPolicy")
    volume = only(template, "AWS::EC2::Volume")
    for resource, fate in ((bucket, "Retain"), (policy, "Retain"), (volume, "Snapshot")):
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (fate, fate)


# The rights that S3 asks for, by the requests of `elt/store`.
_RIGHTS = {
    "head_bucket": "s3:ListBucket",
    "list_objects_v2": "s3:ListBucket",
    "list_object_versions": "s3:ListBucketVersions",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "head_object": "s3:GetObject s3:GetObjectVersion",
    "get_object": "s3:GetObject s3:GetObjectVersion",
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "delete_object": "s3:DeleteObject s3:DeleteObjectVersion",
}


def test_the_machine_may_do_with_the_store_what_laurel_does_and_no_more(template: Template) -> None:
    code = "".join(path.read_text("utf-8") for path in sorted((PROJECT / "elt/store").glob("s3*.py")))
    asked = set(re.findall(r'(?:call|get_paginator)\(\s*"(\w+)"', code))
    asked |= set(re.findall(r"_(?:client|probe)\.(?!get_paginator)([a-z]\w+)\(", code))
    statements = [each for each in machine_statements(template) if str(each["Action"]).find("s3:") >= 0]

    assert {right for request in asked for right in _RIGHTS[request].split()} == {
        action for statement in statements for action in actions(statement)
    }
    assert [statement["Resource"] for statement in statements] == [
        {"Fn::GetAtt": ["Bucket", "Arn"]},
        {"Fn::Sub": "${Bucket.Arn}/laurel/*"},
    ]


def test_the_store_lies_where_the_machine_may_write(template: Template) -> None:
    assert "\nLAUREL_STORE_URL=s3://school-bucket-1x/laurel\n" in user_data(template)


def test_no_right_of_the_machine_is_wider_than_it_must_be(template: Template) -> None:
    assert "ManagedPolicyArns" not in template["Resources"]["MachineRole"]["Properties"]
    for statement in machine_statements(template):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in actions(statement))
        if statement["Resource"] == "*":
            # What the agent of Systems Manager needs for sessions. AWS knows no narrower resource for it.
            assert {action.split(":")[0] for action in actions(statement)} <= {"ssm", "ssmmessages"}
            assert not any("Parameter" in action for action in actions(statement))
        elif any(action.startswith("ec2:") for action in actions(statement)):
            assert statement["Condition"] == {
                "StringEquals": {"aws:ResourceTag/laurel-stack": {"Ref": "AWS::StackName"}}
            }
        elif "ssm:PutParameter" in actions(statement):
            assert str(statement["Resource"]).endswith("parameter/laurel/${AWS::StackName}/secrets'}")


def machine_statements(template: Template) -> list[dict[str, Any]]:
    policies = template["Resources"]["MachineRole"]["Properties"]["Policies"]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def actions(statement: dict[str, Any]) -> list[str]:
    found = statement["Action"]
    return [found] if isinstance(found, str) else list(found)


def test_nobody_reaches_more_than_the_proxy(template: Template) -> None:
    rules = only(template, "AWS::EC2::SecurityGroup")["Properties"]["SecurityGroupIngress"]
    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"], rule["CidrIp"]) for rule in rules] == [
        ("tcp", 443, 443, {"Ref": "HttpsFrom"}),
        ("tcp", 80, 80, {"Ref": "HttpFrom"}),
    ]


def test_the_machine_shows_its_role_to_containers_and_not_to_forged_requests(template: Template) -> None:
    options = launch_template(template)["MetadataOptions"]
    assert options["HttpTokens"] == "required"
    assert options["HttpPutResponseHopLimit"] == 2


def test_every_disk_is_encrypted(template: Template) -> None:
    assert only(template, "AWS::EC2::Volume")["Properties"]["Encrypted"] is True
    disks = launch_template(template)["BlockDeviceMappings"]
    assert [disk["Ebs"]["Encrypted"] for disk in disks] == [True]


def test_the_data_volume_is_snapshot_daily_and_kept_a_week(template: Template) -> None:
    policy = only(template, "AWS::DLM::LifecyclePolicy")["Properties"]
    (schedule,) = policy["PolicyDetails"]["Schedules"]
    assert policy["State"] == "ENABLED"
    assert (schedule["CreateRule"]["Interval"], schedule["CreateRule"]["IntervalUnit"]) == (24, "HOURS")
    assert schedule["RetainRule"] == {"Count": 7}
    (target,) = policy["PolicyDetails"]["TargetTags"]
    assert target in only(template, "AWS::EC2::Volume")["Properties"]["Tags"]


def test_what_the_machine_may_touch_carries_the_tag_that_its_role_asks_for(template: Template) -> None:
    tag = {"Key": "laurel-stack", "Value": {"Ref": "AWS::StackName"}}
    assert tag in only(template, "AWS::EC2::Volume")["Properties"]["Tags"]
    assert tag in only(template, "AWS::EC2::EIP")["Properties"]["Tags"]
    tagged = {each["ResourceType"]: each["Tags"] for each in launch_template(template)["TagSpecifications"]}
    assert tagged == {"instance": [tag], "network-interface": [tag]}


def test_no_image_is_written_down(template: Template) -> None:
    assert not re.search(r"\bami-[0-9a-f]+", TEMPLATE.read_text("utf-8"))
    assert template["Parameters"]["Image"]["Type"] == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"


def test_there_is_one_machine_and_never_two(template: Template) -> None:
    group = only(template, "AWS::AutoScaling::AutoScalingGroup")
    update = group["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert (group["Properties"]["MinSize"], group["Properties"]["MaxSize"]) == ("1", "1")
    assert update["MinInstancesInService"] == 0, "the old machine must let go of the volume first"
    assert update["WaitOnResourceSignals"] is True
    assert group["CreationPolicy"]["ResourceSignal"]["Count"] == 1


def test_every_alarm_is_told_to_the_administrator(template: Template) -> None:
    (told,) = only(template, "AWS::SNS::Topic")["Properties"]["Subscription"]
    assert told == {"Protocol": "email", "Endpoint": {"Ref": "AdministratorEmail"}}
    alarms = resources(template, "AWS::CloudWatch::Alarm")
    assert alarms
    assert all(alarm["Properties"]["AlarmActions"] == [{"Ref": "Alarms"}] for alarm in alarms)


# --- The user data ------------------------------------------------------------------------------------------


def test_the_user_data_is_sound_and_not_too_long(template: Template) -> None:
    text = user_data(template)
    assert len(text.encode()) < 16 * 1024  # what EC2 takes
    assert text.startswith("#!/bin/bash\n")
    assert "${" not in text, "a placeholder of CloudFormation was left"
    for script in (text, SCRIPT.read_text("utf-8")):
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_user_data_tells_the_script_all_that_it_needs(template: Template) -> None:
    written = set(re.findall(r"^([A-Z_]+)=", user_data(template), re.MULTILINE))
    needed = set(re.findall(r'"?\$\{?([A-Z][A-Z_]+)', SCRIPT.read_text("utf-8"))) - {"BASH_SOURCE"}
    assert needed <= written


def test_the_user_data_installs_what_was_asked_for_and_tells_how_it_went(template: Template) -> None:
    text = user_data(template)
    assert "git fetch --quiet --depth 1 'https://git.example/laurel.git' 'v0.1.0'" in text
    assert "--logical-resource-id Machine " in text
    assert text.rstrip().endswith("deploy/ec2/machine.sh set-up")


def test_the_unit_is_stopped_before_docker_and_tries_again() -> None:
    unit = (PROJECT / "deploy/ec2/laurel.service").read_text("utf-8")
    assert re.search(r"^After=.*\bdocker\.service\b", unit, re.MULTILINE)
    assert "Restart=on-failure" in unit
    assert re.findall(r"^Exec\w+=(\S+) (\w+)$", unit, re.MULTILINE) == [
        ("/opt/laurel/deploy/ec2/machine.sh", "up"),
        ("/opt/laurel/deploy/ec2/machine.sh", "stop"),
    ]


# --- The script ---------------------------------------------------------------------------------------------

# Parameter Store in a folder: one file per parameter. Each call is written down with its arguments.
_AWS = r"""#!/bin/bash
printf '%s\n' "aws $*" >>"$world/calls"
file=$world/parameters/$(sed -nE 's#.*--names? (\S+).*#\1#p' <<<"$*" | tr / _)
case "$1 $2" in
  "ssm get-parameters")
    [[ ! -e $world/store-is-away ]] || { echo "Could not connect" >&2; exit 255; }
    [[ ! -e $file ]] || { cat "$file"; echo; } ;;
  "ssm put-parameter")
    [[ ! -e $world/somebody-was-first ]] || mv "$world/somebody-was-first" "$file"
    [[ ! -e $file || $* == *--overwrite* ]] || { echo "ParameterAlreadyExists" >&2; exit 254; }
    cat >"$file" ;;
  "ec2 attach-volume")
    # Refused as long as another machine has it.
    [[ $(grep -c attach-volume "$world/calls") -gt ${refusals:-0} ]] || { echo "VolumeInUse" >&2; exit 254; }
    touch "$world/disks/nvme-Amazon_Elastic_Block_Store_vol0a1b" ;;
  "ec2 associate-address") ;;
  *) exit 64 ;;
esac
"""


class Machine:
    """A machine whose disks are folders."""

    def __init__(self, world: Path) -> None:
        self.world = world
        self.checkout = world / "checkout"
        self.volumes = world / "data/volumes"
        self.parameters = world / "parameters"
        for folder in (
            "checkout/deploy/ec2",
            "checkout/local",
            "data/volumes",
            "parameters",
            "disks",
            "config",
            "bin",
        ):
            (world / folder).mkdir(parents=True, exist_ok=True)
        for name in ("start.sh", ".env.example", "local/new_env.py", "deploy/ec2/laurel.service"):
            shutil.copy(PROJECT / name, self.checkout / name)
        (world / "config/stack.env").write_text("LAUREL_STORE_URL=s3://bucket/laurel\nAWS_REGION=eu-west-1\n")
        self.program("aws", _AWS)

    def program(self, name: str, text: str) -> None:
        path = self.world / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, function: str, **environment: str) -> subprocess.CompletedProcess[str]:
        places = {
            "checkout": self.checkout,
            "config": self.world / "config",
            "data": self.world / "data",
            "volumes": self.volumes,
            "disks": self.world / "disks",
            "fstab": self.world / "fstab",
            "units": self.world / "units",
        }
        moved = "".join(f"{name}={place}\n" for name, place in places.items())
        return subprocess.run(
            ["bash", "-c", f"umask 077\n. {SCRIPT}\n{moved}{function}"],
            env={
                "PATH": f"{self.world / 'bin'}:{os.environ['PATH']}",
                "PARAMETERS": "/laurel/school",
                "DOMAIN": "laurel.school.example",
                "LAUREL_PYTHON": sys.executable,
                "INSTANCE_ID": "i-0a1b",
                "VOLUME_ID": "vol-0a1b",
                "ADDRESS_ID": "eipalloc-0a1b",
                "AWS_REGION": "eu-west-1",
                "world": str(self.world),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def parameter(self, name: str) -> Path:
        return self.parameters / f"_laurel_school_{name}"

    def calls(self) -> list[str]:
        path = self.world / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def settings(self) -> dict[str, str]:
        """What `.env` says; the last line of a name counts, as everywhere."""
        lines = (self.checkout / ".env").read_text("utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z0-9_]+=", line))

    def secrets(self) -> dict[str, str]:
        return {name: value for name, value in self.settings().items() if name in secret_names()}

    def replaced(self) -> Machine:
        """Another machine in this one's place: with its data volume and its parameters, and nothing else."""
        for folder in (self.checkout, self.world / "config"):
            shutil.rmtree(folder)
        (self.world / "calls").unlink()
        return Machine(self.world)


def secret_names() -> set[str]:
    return set(re.findall(r"^(\w+)=<secret>$", (PROJECT / ".env.example").read_text("utf-8"), re.MULTILINE))


def stored(machine: Machine) -> dict[str, str]:
    return dict(line.split("=", 1) for line in machine.parameter("secrets").read_text().splitlines())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_machine_makes_secrets_and_stores_them(machine: Machine) -> None:
    answer = machine.run("write_settings")
    assert answer.returncode == 0, answer.stderr
    assert "LAUREL_PSEUDONYM_KEY" in secret_names()
    assert set(machine.secrets()) == secret_names()
    assert all(len(secret) >= 32 for secret in machine.secrets().values())
    assert stored(machine) == machine.secrets()
    assert stat.S_IMODE((machine.checkout / ".env").stat().st_mode) == 0o600


def test_the_stacks_addresses_are_in_the_settings(machine: Machine) -> None:
    machine.run("write_settings")
    expected = {
        "LAUREL_STORE_URL": "s3://bucket/laurel",
        "AWS_REGION": "eu-west-1",
        "LAUREL_PUBLIC_URL": "https://laurel.school.example",
        "LAUREL_TRUSTED_PROXIES": "1",
        "COMPOSE_PROFILES": "tls",
    }
    assert expected.items() <= machine.settings().items()


def test_no_secret_is_ever_an_argument(machine: Machine) -> None:
    answer = machine.run("write_settings")
    said = "\n".join([*machine.calls(), answer.stdout, answer.stderr])
    assert not [name for name, secret in machine.secrets().items() if secret in said]


def test_a_machine_in_anothers_place_takes_its_secrets(machine: Machine) -> None:
    machine.run("write_settings")
    secrets = machine.secrets()
    (machine.volumes / "laurel_postgres-elt").mkdir()
    new = machine.replaced()
    answer = new.run("write_settings")
    assert answer.returncode == 0, answer.stderr
    assert new.secrets() == secrets
    assert not [call for call in new.calls() if "put-parameter" in call]


def test_a_secret_that_a_newer_version_wants_is_added_and_no_other_changes(machine: Machine) -> None:
    machine.run("write_settings")
    secrets = machine.secrets()
    with (machine.checkout / ".env.example").open("a") as example:
        example.write("LAUREL_NEWER_KEY=<secret>\n")
    answer = machine.run("write_settings")
    assert answer.returncode == 0, answer.stderr
    after = stored(machine)
    assert len(after.pop("LAUREL_NEWER_KEY")) >= 32
    assert after == secrets


def test_a_database_without_its_secrets_is_not_started_with_others(machine: Machine) -> None:
    (machine.volumes / "laurel_postgres-elt").mkdir()
    answer = machine.run("write_settings")
    assert answer.returncode == 1
    assert "/laurel/school/secrets" in answer.stderr
    assert not (machine.checkout / ".env").exists()
    assert not machine.parameter("secrets").exists()


def test_no_secrets_are_made_while_parameter_store_is_away(machine: Machine) -> None:
    (machine.world / "store-is-away").touch()
    assert machine.run("write_settings").returncode != 0
    assert not (machine.checkout / ".env").exists()
    assert not machine.parameter("secrets").exists()


def test_secrets_that_could_not_be_stored_are_not_used(machine: Machine) -> None:
    (machine.world / "somebody-was-first").write_text("LAUREL_PSEUDONYM_KEY=that-of-somebody-else-for-tests")
    answer = machine.run("write_settings")
    assert answer.returncode == 1
    assert "could not be stored" in answer.stderr
    assert not (machine.checkout / ".env").exists()
    assert not (machine.checkout / "secrets").exists()

    assert machine.run("write_settings").returncode == 0
    assert machine.secrets()["LAUREL_PSEUDONYM_KEY"] == "that-of-somebody-else-for-tests"


def test_what_the_operator_sets_wins(machine: Machine) -> None:
    machine.parameter("settings").write_text("LAUREL_TIME_ZONE=Africa/Lagos\nAWS_REGION=af-south-1\n")
    machine.run("write_settings")
    assert machine.settings()["LAUREL_TIME_ZONE"] == "Africa/Lagos"
    assert machine.settings()["AWS_REGION"] == "af-south-1"


def test_a_rotated_key_is_kept(machine: Machine) -> None:
    machine.run("write_settings")
    old = machine.secrets()["LAUREL_PSEUDONYM_KEY"]
    rotated = f"a-fresh-key-for-tests,{old}"
    machine.parameter("settings").write_text(f"LAUREL_PSEUDONYM_KEY={rotated}\n")
    assert machine.run("write_settings").returncode == 0
    assert stored(machine)["LAUREL_PSEUDONYM_KEY"] == rotated
    machine.parameter("settings").unlink()
    machine.run("write_settings")
    assert machine.secrets()["LAUREL_PSEUDONYM_KEY"] == rotated


def test_a_key_that_was_made_for_prometheus_outlives_the_machine(machine: Machine) -> None:
    machine.run("write_settings")
    (machine.checkout / "secrets/metrics-key").write_text("for-tests")
    new = machine.replaced()
    new.run("write_settings")
    assert (new.checkout / "secrets/metrics-key").read_text() == "for-tests"


@pytest.fixture
def disks(machine: Machine) -> Machine:
    """With programs of the system that only write down how they were called."""
    programs = ("mkfs.xfs", "mount", "systemctl", "curl", "dpkg", "apt-get", "docker", "xfs_growfs", "sleep")
    for name in programs:
        machine.program(name, f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >>"$world/calls"\n')
    machine.program("blkid", "#!/bin/bash\n[[ $1 != --probe || -e $world/formatted ]] || exit 2\necho 1234\n")
    return machine


def test_a_first_boot_goes_in_order(disks: Machine) -> None:
    answer = disks.run("set_up")
    assert answer.returncode == 0, answer.stderr
    unit = (PROJECT / "deploy/ec2/laurel.service").read_text("utf-8")
    assert (disks.world / "units/laurel.service").read_text("utf-8") == unit
    steps = [
        "dpkg --install",  # the only way in, if anything fails later
        "aws ec2 attach-volume",
        "mkfs.xfs",
        f"mount {disks.volumes}",
        "apt-get",  # Docker starts at once, and needs its volumes
        "systemctl enable --now laurel.service",
    ]
    assert places(steps, disks.calls()) == sorted(places(steps, disks.calls()))


def test_each_start_has_its_settings_before_containers(disks: Machine) -> None:
    answer = disks.run("up")
    assert answer.returncode == 0, answer.stderr
    steps = ["aws ec2 associate-address", "aws ssm put-parameter", "docker compose up"]
    assert places(steps, disks.calls()) == sorted(places(steps, disks.calls()))


def test_nothing_starts_when_the_secrets_cannot_be_had(disks: Machine) -> None:
    (disks.world / "store-is-away").touch()
    assert disks.run("up").returncode != 0
    assert not [call for call in disks.calls() if call.startswith("docker")]


def places(steps: list[str], calls: list[str]) -> list[int]:
    """At which call each step was made first."""
    return [next(at for at, call in enumerate(calls) if call.startswith(step)) for step in steps]


def test_a_machine_waits_until_the_one_before_it_is_gone(disks: Machine) -> None:
    answer = disks.run("attach_volume", refusals="3")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip().endswith("/disks/nvme-Amazon_Elastic_Block_Store_vol0a1b")
    assert len([call for call in disks.calls() if call.startswith("aws ec2 attach-volume")]) == 4


def test_a_volume_that_is_attached_already_is_not_asked_for(disks: Machine) -> None:
    disks.run("attach_volume")
    (disks.world / "calls").unlink()
    assert disks.run("attach_volume").returncode == 0
    assert disks.calls() == []


def test_an_empty_volume_is_formatted(disks: Machine) -> None:
    answer = disks.run("mount_data /dev/disk")
    assert answer.returncode == 0, answer.stderr
    assert disks.calls()[0] == "mkfs.xfs /dev/disk"


def test_a_volume_with_data_is_mounted_as_it_is(disks: Machine) -> None:
    (disks.world / "formatted").touch()
    assert disks.run("mount_data /dev/disk").returncode == 0
    assert not [call for call in disks.calls() if "mkfs" in call]
    assert f"mount {disks.volumes}" in disks.calls()


def test_docker_waits_for_the_volume_at_every_boot(disks: Machine) -> None:
    disks.run("mount_data /dev/disk")
    drop_in = disks.world / "units/docker.service.d/volumes.conf"
    assert f"RequiresMountsFor={disks.volumes}\n" in drop_in.read_text()
    lines = [line.split() for line in (disks.world / "fstab").read_text().splitlines()]
    assert [(line[0], line[1], line[2]) for line in lines] == [
        ("UUID=1234", str(disks.world / "data"), "xfs"),
        (str(disks.volumes), str(disks.volumes), "none"),
    ]


def test_descriptions_of_sources_outlive_the_machine_and_containers_can_read_them(disks: Machine) -> None:
    disks.run("mount_data /dev/disk")
    assert (disks.checkout / "sources").resolve() == disks.world / "data/sources"
    assert stat.S_IMODE((disks.world / "data/sources").stat().st_mode) == 0o750
