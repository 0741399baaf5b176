#!/bin/bash
# What:    ethtool 6.1 (Debian 1:6.1-1), -N with a classification rule for a place of its own (loc), on a device whose driver takes no rules; beside it
#          -N ... delete, which the same kernel refuses with the same error.
# Guess:   both say so and exit with a status that is not 0.
# Happens: both say so; the rule that was not inserted exits with 0, the one that was not deleted with 1:
#              insert 0 rmgr: Cannot insert RX class rule: Operation not supported
#              delete 1 rmgr: Cannot delete RX class rule: Operation not supported
# Matters: a script that steers flows by `ethtool -N ... loc N || exit` goes on without its rule, and a test of a driver that refuses rules passes
#          or fails by the words alone. The same happens without loc on drivers that choose the place (ixgbe).
# Source:  the manual page names no exit status for -N; the tool's other requests exit with one above 0 where the kernel refuses them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb ethtool=1:6.1-1
cat >"$T/run.sh" <<'SH'
ip link add v0 type veth peer name v1
for what in insert delete; do
    case $what in
    insert) arguments="flow-type udp4 dst-port 9 action 0 loc 1" ;;
    delete) arguments="delete 1" ;;
    esac
    status=0
    # shellcheck disable=SC2086
    said=$(ethtool -N v0 $arguments 2>&1) || status=$?
    echo "$what $status $(echo "$said" | head -n 1)"
done
SH
got=$(unshare -n bash "$T/run.sh")
same "ethtool 6.1 -N exits with 0 though the kernel refused the rule" "$got" \
"insert 0 rmgr: Cannot insert RX class rule: Operation not supported
delete 1 rmgr: Cannot delete RX class rule: Operation not supported"
