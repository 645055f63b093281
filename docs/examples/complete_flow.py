"""A whole release in one plain script: deploy, follow it, and go back if it failed.

Set FERRYMAN_URL, FERRYMAN_TOKEN and FERRYMAN_CA_FILE, then run

    python complete_flow.py [PACKAGES]

PACKAGES is the URL under which the packages are.
"""

import sys
import time

from coordinator import BatchRollbackParams, Client, DeployParams, FerrymanError

PACKAGES = "https://packages.example.com/user-service"
INSTANCES = ["instance-1", "instance-2"]


def main(packages: str = PACKAGES) -> None:
    """Bring v1.2.3 to both instances; if that fails, bring both back to v1.2.2."""
    with Client.from_env() as ferryman:
        # 1. Start the deployment. The same id again would return this very result.
        result = ferryman.execute_deployment(
            DeployParams(
                service="user-service",
                version="v1.2.3",
                instances=INSTANCES,
                package_url=f"{packages}/v1.2.3.tar.gz",
                deploy_id="deploy-12345",
                timeout=300,
                retry_count=3,
            )
        )
        print(f"deployment started: {result.deploy_id}")

        # 2. Follow its state until it has ended.
        while True:
            status = ferryman.get_deployment_status("deploy-12345")
            progress = status.progress
            print(f"{status.status.value}: {progress.completed}/{progress.total}")
            if status.status.ended:
                break
            time.sleep(0.5)

        # 3. If it failed, go back. An instance that failed has put v1.2.2 back by itself:
        #    only the others are named.
        if status.status.value == "failed":
            for row in status.instances:
                if row.error_message:
                    print(f"{row.instance_id}: {row.error_message}")
            ahead = [row.instance_id for row in status.instances if row.current_version != "v1.2.2"]
            if ahead:
                rollback = ferryman.rollback_batch(
                    BatchRollbackParams(
                        service="user-service",
                        target_version="v1.2.2",
                        package_url=f"{packages}/v1.2.2.tar.gz",
                        instances=ahead,
                    )
                )
                print(f"rollback started: {rollback.rollback_id}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except FerrymanError as error:
        sys.exit(f"{type(error).__name__}: {error}")
