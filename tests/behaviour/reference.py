"""The reference's Go structs: every documented field, its JSON name, type and default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Shape = str | list[Any] | Mapping[str, Any]
"""A Go type by name, a slice of a shape, or a struct."""

PROGRESS: Shape = {"total": "int", "completed": "int", "failed": "int", "pending": "int"}
ASSIGNMENTS: Shape = [
    {
        "instance_id": "string",
        "status": "string",
        "current_version": "string",
        "target_version": "string",
        "started_at": "time",
        "completed_at": "*time",
        "error_message": "string",
    }
]
COUNTS: Shape = {"total": "int", "success": "int", "failed": "int", "success_rate": "float64"}

RESULTS: Mapping[str, Shape] = {
    "DeployResult": {
        "deploy_id": "string",
        "service": "string",
        "version": "string",
        "status": "string",
        "total_instances": "int",
        "started_at": "time",
    },
    "DeployStatus": {
        "deploy_id": "string",
        "service": "string",
        "version": "string",
        "status": "string",
        "progress": PROGRESS,
        "instances": ASSIGNMENTS,
        "started_at": "time",
        "updated_at": "time",
    },
    "DeployCancelResult": {"deploy_id": "string", "status": "string", "cancelled_at": "time"},
    "ServiceVersions": {
        "service": "string",
        "instances": [
            {
                "instance_id": "string",
                "version": "string",
                "status": "string",
                "last_updated": "time",
            }
        ],
        "version_summary": "map[string]int",
        "total_instances": "int",
        "updated_at": "time",
    },
    "ServiceInstances": {
        "service": "string",
        "instances": [
            {
                "instance_id": "string",
                "host": "string",
                "port": "int",
                "status": "string",
                "version": "string",
                "last_heartbeat": "time",
                "metadata": "map[string]string",
            }
        ],
        "total": "int",
        "limit": "int",
        "offset": "int",
    },
    "VersionHistory": {
        "instance_id": "string",
        "service": "string",
        "history": [
            {
                "version": "string",
                "action": "string",
                "deploy_id": "string",
                "timestamp": "time",
                "status": "string",
            }
        ],
        "total": "int",
    },
    "RollbackResult": {
        "rollback_id": "string",
        "instance_id": "string",
        "target_version": "string",
        "status": "string",
        "started_at": "time",
    },
    "BatchRollbackResult": {
        "rollback_id": "string",
        "service": "string",
        "target_version": "string",
        "status": "string",
        "instances": ["string"],
        "total_instances": "int",
        "started_at": "time",
    },
    "RollbackStatus": {
        "rollback_id": "string",
        "service": "string",
        "target_version": "string",
        "rollback_type": "string",
        "status": "string",
        "progress": PROGRESS,
        "instances": ASSIGNMENTS,
        "started_at": "time",
        "completed_at": "*time",
    },
    "RollbackCancelResult": {"rollback_id": "string", "status": "string", "cancelled_at": "time"},
    "SystemHealth": {
        "status": "string",
        "version": "string",
        "uptime": "string",
        "database": "string",
        "cache": "string",
        "timestamp": "time",
    },
    "SystemStats": {
        "period": "string",
        "deployments": COUNTS,
        "rollbacks": COUNTS,
        "instances": {"total": "int", "healthy": "int", "unhealthy": "int"},
        "timestamp": "time",
    },
}

REQUIRED = object()
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "DeployParams": {
        "service": REQUIRED,
        "version": REQUIRED,
        "instances": REQUIRED,
        "package_url": REQUIRED,
        "deploy_id": REQUIRED,
        "timeout": 300,
        "retry_count": 3,
    },
    "InstanceQueryParams": {
        "service_name": REQUIRED,
        "status": "",
        "version": "",
        "limit": 100,
        "offset": 0,
    },
    "InstanceRollbackParams": {
        "instance_id": REQUIRED,
        "target_version": REQUIRED,
        "package_url": "",
        "force": False,
        "timeout": 300,
    },
    "BatchRollbackParams": {
        "service": REQUIRED,
        "target_version": REQUIRED,
        "package_url": "",
        "instances": REQUIRED,
        "force": False,
        "timeout": 300,
    },
}
