//! What systemd would do with the unit, on a machine that no systemd runs: user, credentials, state folder, mask and
//! command, all from the unit's own lines. What it forbids the agent is not shown here: `systemd-analyze` judges that.

use std::{fs, os::unix::fs::PermissionsExt};

use super::stack::shipped;
use crate::fixtures::machine::Machine;

/// Stands before the real `systemctl`, and leaves to it all that needs no manager.
const SYSTEMCTL: &str = r#"#!/bin/bash
set -e
pid=/run/landfall.pid
healthy() { HEALTHY; }
start() {
    # Nothing to watch: skipped, and no failure.
    compgen -G 'CONDITION' >/dev/null || return 0
    install -d -o USER -g GROUP -m STATE_MODE /var/lib/STATE
    install -d -m 755 /run/credentials
    install -d -o USER -g GROUP -m 500 /run/credentials/landfall.service
    cat UNIT /etc/systemd/system/landfall.service.d/*.conf 2>/dev/null | sed -n 's/^LoadCredential=//p' \
        | while IFS=: read -r name file; do
            install -o USER -g GROUP -m 400 "$file" "/run/credentials/landfall.service/$name"
        done
    umask MASK
    setsid setpriv --reuid=USER --regid=GROUP --init-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
        COMMAND >>/tmp/landfall.log 2>&1 </dev/null &
    echo $! >$pid
    for _ in $(seq 300); do
        ! healthy || return 0
        sleep 0.2
    done
    cat /tmp/landfall.log >&2
    exit 1
}
stop() {
    [ -e $pid ] || return 0
    kill -TERM "$(cat $pid)"
    for _ in $(seq 300); do
        # One that has ended and was not waited for has no program any more.
        [ -n "$(readlink "/proc/$(cat $pid)/exe")" ] || { rm $pid; return 0; }
        sleep 0.2
    done
    exit 1
}
case "$*" in
    'start landfall') start ;;
    'stop landfall') stop ;;
    'restart landfall') stop && start ;;
    'reload landfall') kill -HUP "$(cat $pid)" ;;
    daemon-reload) ;;
    *) exec /usr/bin/systemctl "$@" ;;
esac
"#;

/// Puts the stand-in there. `unit` is where the unit file is.
pub(super) fn stand_in(machine: &Machine, unit: &str) {
    let text = shipped("packaging/landfall.service");
    let key = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("the unit has no {name}"))
    };
    let script = SYSTEMCTL
        .replace("HEALTHY", &health_check())
        .replace("CONDITION", key("ConditionPathExistsGlob"))
        .replace("STATE_MODE", key("StateDirectoryMode"))
        .replace("STATE", key("StateDirectory"))
        .replace("USER", key("User"))
        .replace("GROUP", key("Group"))
        .replace("MASK", key("UMask"))
        .replace("COMMAND", key("ExecStart"))
        .replace("UNIT", unit);
    let place = machine.file("/usr/local/bin/systemctl");
    fs::write(&place, script).expect("written");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("made executable");
}

/// The container's own question whether the agent is alive.
pub(super) fn health_check() -> String {
    let file = shipped("packaging/Dockerfile");
    let line = file.lines().find_map(|line| line.trim().strip_prefix("CMD [\"bash\", \"-c\", "));
    let text = line.and_then(|line| line.strip_suffix(']')).expect("a HEALTHCHECK by bash");
    format!("bash -c '{}' 2>/dev/null", serde_json::from_str::<String>(text).expect("JSON"))
}
