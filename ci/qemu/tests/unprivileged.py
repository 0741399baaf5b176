"""A run without privileges: uid 1000, with the node given to it and a limit on locked memory."""

from harness import commands
from harness.lab import answering, check, stopped, test
from harness.peer import Exchange


@test("unprivileged", needs=["respond", "barewire"])
def unprivileged(lab):
    """`barewire bind --user`: uid 1000 gets a clear error when RLIMIT_MEMLOCK is too small, and 20,000 frames when not"""
    guest = lab.guest("group")
    address = guest.ports["n0"].address
    guest.run(commands.tool(f"bind {address} --user user"))
    group = guest.run(f"group_of {address}").strip()
    owner = guest.run(f"stat -c %u /dev/vfio/{group}").strip()
    check(owner == "1000", f"/dev/vfio/{group} belongs to uid {owner}")
    peer, responder = lab.peer(guest, "n0"), lab.responder(guest, "n0")
    refused = guest.start("refused", commands.respond(address), user="user", limits="ulimit -l 64")
    status, output = refused.wait()
    check(status not in (0, 101), f"with 64 KiB of locked memory respond ended with status {status}: {output[-600:]}")
    check(commands.says(commands.MEMLOCK, output), f"the error does not name the limit: {output[-600:]}")
    program = guest.start("respond", commands.respond(address), user="user", limits="ulimit -l 131072")
    answering(program, peer, responder)
    uid = guest.run(f"awk '/^Uid/ {{ print $3 }}' /proc/{program.pid}/status").strip()
    check(uid == "1000", f"respond runs as uid {uid}")
    report = Exchange(peer, responder).run(20000)
    stopped(program)
    return f"uid {uid}; 64 KiB: '{output.strip().splitlines()[-1]}'; 128 MiB: {report}"
