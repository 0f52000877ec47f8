"""Run the corpus of attacks under one configuration, perhaps as another user, and print what fell, as JSON.

Reading order: the bottom line; test_layers.py starts this file with the arguments it needs: layers to switch off, the
words that aim the attacks, and which kinds of attack to run.
"""

import json
import sys
from typing import Any

from attacks import ATTACKS

from sandbox import Job, Limits, Sandbox, Status

ENDED = (Status.TIMEOUT, Status.MEMORY, Status.DENIED, Status.ERROR)


def main(setting: dict[str, Any]) -> dict[str, Any]:
    chosen = [attack for attack in ATTACKS if attack.kind in setting["kinds"]]
    fell: list[str] = []
    # Time by the clock is short here: a loop has then had its chance, and a program that sleeps as well.
    limits = Limits(cpu_s=0.15, wall_s=2.0, memory_mib=64)
    with Sandbox(workers=2, limits=limits, without=setting["without"]) as box:
        programs = [attack.program for attack in chosen]
        for word, meaning in setting["words"].items():
            programs = [program.replace(f"@{word}@", meaning) for program in programs]
        for index, result in box.map(Job(program, args="", imports="stdlib") for program in programs):
            ended = chosen[index].kind != "hang" or result.status in ENDED
            if result.value == "owned" or "owned" in result.stdout or not ended:
                fell.append(f"{chosen[index].id}: {result}")
        after = box.run("def f(x): return x + 1", "41")
        if after.value != 42:
            fell.append(f"the next job gave {after}")
        return {"fell": fell, "ran": len(chosen), "in_force": box.report.in_force, "missing": box.report.missing}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
