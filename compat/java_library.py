"""Builds and runs what is written in Java: compat/java, AWS's processing library with a main program; and ElasticMQ.

Maven downloads into the project's own .tools. Where Java or Maven are missing, or the downloads do, `Missing` says which.
"""

import json
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent / ".tools"
LIBRARY = "com.amazonaws:aws-cloudtrail-processing-library"
BUILD_SECONDS_MAX = 900


class Missing(Exception):
    """Why something in Java cannot be run here."""


def package(folder):
    """Builds a Maven project, unless that is done already; gives its build folder."""
    for tool in "java", "mvn":
        if not shutil.which(tool):
            raise Missing(f"{tool} is not installed")
    built = folder / "target"
    sources = [folder / "pom.xml", *folder.rglob("*.java")]
    mark = built / "built"
    if not mark.exists() or mark.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        command = ["mvn", "-q", "-B", "-ntp", f"-Dmaven.repo.local={TOOLS / 'm2'}", "-f", folder / "pom.xml", "package"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX)
        if done.returncode:
            if "resolve" in done.stdout or "Could not transfer" in done.stdout or "Unknown host" in done.stdout:
                raise Missing(f"Maven cannot download what {folder.name} needs: {done.stdout[:500]}")
            raise RuntimeError(f"mvn package: {done.stdout}{done.stderr}")
        mark.touch()
    return built


def judge():
    """The processing library's program, built where that is still to do."""
    return package(HERE / "java") / "judge.jar"


def consume(server, queue_url, events, ids, threads=4, idle_seconds=90):
    """Consumes a queue with AWS's library; what it says of that, and the eventIDs that it was handed, in order."""
    command = ["java", "-Xmx512m", "-jar", judge(), queue_url, str(events), str(idle_seconds), str(threads), ids]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"the Java program ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout), Path(ids).read_text().split(), done.stderr


def elasticmq():
    """The class path of ElasticMQ's server."""
    return package(HERE / "java" / "elasticmq") / "lib" / "*"
