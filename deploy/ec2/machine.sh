#!/usr/bin/env bash
# Makes a fresh Debian 13 into the machine that laurel.yaml describes, and starts Laurel on it.
#   machine.sh set-up   once, by the user data: volume, Docker, the unit laurel.service, first start
#   machine.sh up       by the unit, at every boot: address, settings, docker compose up
#   machine.sh stop     by the unit, before Docker ends
# The user data has written machine.env (what belongs to this machine) and stack.env (what goes into .env).
set -euo pipefail

checkout=/opt/laurel
config=/etc/laurel
data=/srv/laurel # what outlives the machine
volumes=/var/lib/docker/volumes
disks=/dev/disk/by-id
fstab=/etc/fstab
units=/etc/systemd/system

log() {
  printf 'machine.sh: %s\n' "$*" >&2
}

die() {
  log "$*"
  exit 1
}

# The volume stays attached when the machine boots again. Only one machine can have it: the next one waits here
# until the one before is gone, so two never run at once, and neither secrets nor address are raced for.
attach_volume() {
  local device=$disks/nvme-Amazon_Elastic_Block_Store_${VOLUME_ID/-/}
  until [[ -e $device ]]; do
    aws ec2 attach-volume --volume-id "$VOLUME_ID" --instance-id "$INSTANCE_ID" --device /dev/sdf >/dev/null ||
      log "$VOLUME_ID is not to be had yet; trying again"
    sleep 10
  done
  printf '%s\n' "$device"
}

# Docker's volumes and the descriptions of sources lie on the data volume. What Docker knows about containers stays
# on the machine's own disk, and so does .env: snapshots of the databases must not hold the keys of their pseudonyms.
mount_data() { # device
  # mkfs.xfs refuses a device that holds anything, so a slip of blkid costs no data.
  blkid --probe "$1" >/dev/null || mkfs.xfs "$1"
  mkdir -p "$data" "$volumes" "$units/docker.service.d"
  # A machine whose volume is away starts all the same, so that somebody can look; Docker then does not, as it would
  # start every service on empty folders.
  printf '%s\n' >>"$fstab" \
    "UUID=$(blkid -o value -s UUID "$1") $data xfs nofail,nodev,nosuid 0 2" \
    "$data/volumes $volumes none bind,nofail,x-systemd.requires-mounts-for=$data 0 0"
  printf '[Unit]\nRequiresMountsFor=%s\n' "$volumes" >"$units/docker.service.d/volumes.conf"
  systemctl daemon-reload
  mount "$data"
  mkdir -p "$data/volumes"
  install -d -m 0750 "$data/sources" # for containers, whose account is of root's group
  mount "$volumes"
  ln -sfn "$data/sources" "$checkout/sources"
}

# Sessions of Systems Manager are the only way in, so the agent comes first. It is not in Debian; TLS says that it
# comes from AWS.
install_agent() {
  curl --fail --silent --show-error --location --retry 5 --output /tmp/amazon-ssm-agent.deb \
    "https://s3.$AWS_REGION.amazonaws.com/amazon-ssm-$AWS_REGION/latest/debian_amd64/amazon-ssm-agent.deb"
  dpkg --install /tmp/amazon-ssm-agent.deb
}

install_docker() {
  apt-get -o Acquire::Retries=5 install -y --no-install-recommends \
    docker.io docker-cli docker-compose docker-buildx unattended-upgrades
}

claim_address() {
  aws ec2 associate-address --allocation-id "$ADDRESS_ID" --instance-id "$INSTANCE_ID" --allow-reassociation >/dev/null
}

# What Parameter Store holds under a name; nothing where there is no such parameter.
read_parameter() { # name
  aws ssm get-parameters --with-decryption --names "$1" --query 'Parameters[].Value' --output text
}

# Writes .env: the addresses of the stack, the secrets that Parameter Store keeps, and last, so that they win, the
# operator's own settings. `start.sh env` adds secrets that are missing, all of them the first time; they are stored
# before anything can use them. Whoever changes a setting changes the parameter, and restarts laurel.service.
write_settings() {
  local stored operators secrets
  stored=$(read_parameter "$PARAMETERS/secrets")
  operators=$(read_parameter "$PARAMETERS/settings")
  if [[ -z $stored && -d $volumes/laurel_postgres-elt ]]; then
    die "there is a database, but Parameter Store has no $PARAMETERS/secrets, which belong to it. Put them back" \
      "(SecureString, one NAME=value a line): with other ones erased people come back, and nobody keeps a pseudonym."
  fi
  # An image for each commit: a boot needs nobody else's registry where it was built before.
  printf '%s\n' "LAUREL_VERSION=$(git -C "$checkout" rev-parse HEAD)" \
    "$(cat "$config/stack.env")" "$stored" "$operators" >"$checkout/.env"
  "$checkout/start.sh" env --domain "$DOMAIN" >/dev/null
  ln -sfn "$data/metrics-key" "$checkout/secrets/metrics-key" # which the operator of the profile observability makes
  secrets=$(secrets_in "$checkout/.env")
  if [[ $secrets != "$stored" ]]; then
    store_secrets "$secrets" "$stored"
  fi
}

# The settings in a file that .env.example names as secrets, sorted by name. The last line of a name is the valid one.
secrets_in() { # file
  sed -n 's/^\([A-Z0-9_]*\)=<secret>$/^\1=/p' "$checkout/.env.example" | grep -f - "$1" | tac | sort -u -t= -k1,1
}

# By standard input: the arguments of a process can be read by every other.
store_secrets() { # value, what was there before
  local overwrite=()
  # What somebody stored a moment ago is never overwritten by the first secrets of a machine.
  if [[ -n $2 ]]; then overwrite=(--overwrite); fi
  if ! aws ssm put-parameter --type SecureString --name "$PARAMETERS/secrets" --value file:///dev/stdin \
    "${overwrite[@]}" < <(printf '%s' "$1") >/dev/null; then
    rm -rf "$checkout/.env" "$checkout/secrets"
    die "the secrets could not be stored as $PARAMETERS/secrets, so nothing is started with them"
  fi
}

set_up() {
  install_agent
  mount_data "$(attach_volume)"
  install_docker
  cp "$checkout/deploy/ec2/laurel.service" "$units/"
  systemctl daemon-reload
  systemctl enable --now laurel.service
}

up() {
  xfs_growfs "$data" >/dev/null # the volume may have become larger
  claim_address
  write_settings
  cd "$checkout"
  docker compose up --detach --remove-orphans --wait
  docker image prune --force >/dev/null
}

stop() {
  cd "$checkout"
  docker compose stop
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  umask 077
  export DEBIAN_FRONTEND=noninteractive AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=10 AWS_PAGER=
  set -a
  # shellcheck source=/dev/null
  . "$config/machine.env"
  set +a
  case ${1:-} in
    set-up) set_up ;;
    up) up ;;
    stop) stop ;;
    *) die "usage: machine.sh set-up|up|stop" ;;
  esac
fi
