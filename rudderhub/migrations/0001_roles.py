from __future__ import annotations

from django.contrib.auth.management import create_permissions
from django.db import migrations

READ = ("sources.view", "destinations.view", "events.view")
ROLES = {
    "Admin": ("sources.", "destinations.", "events.", "auth.", "admin.view", "sessions."),
    "Source manager": (
        *READ,
        "sources.add",
        "sources.change",
        "destinations.add_connection",
        "destinations.change_connection",
        "events.change_quarantined",
    ),
    "Analyst": READ,
    "Privacy officer": (
        *READ,
        "destinations.add_erasure",
        "destinations.change_erasure",
        "events.view_personal_data",
        "admin.view",
    ),
    "Read-only": READ,
}
PERSONAL = "view_personal_data"


def make_roles(apps, schema_editor):
    """Give each role the permissions that begin as ROLES has it, with a stricter rule for PERSONAL."""
    for label in ("sources", "destinations", "events", "auth", "admin", "sessions"):
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    permissions = list(
        apps.get_model("auth", "Permission").objects.select_related("content_type")
    )
    for role, prefixes in ROLES.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=role)
        group.permissions.add(*(granted for granted in permissions if _is_of_role(granted, prefixes)))


def _is_of_role(permission, prefixes):
    name = f"{permission.content_type.app_label}.{permission.codename}"
    if permission.codename == PERSONAL:
        return "events." in prefixes or name in prefixes
    return name.startswith(prefixes)


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("sessions", "0001_initial"),
        ("sources", "0001_initial"),
        ("destinations", "0001_initial"),
        ("events", "0001_initial"),
    ]
    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
