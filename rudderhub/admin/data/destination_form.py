"""The form of a Postgres destination."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import BaseValidator, MaxValueValidator, MinValueValidator
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from destinations.interface import DestinationError
from destinations.models import Destination
from destinations.postgres.config import SSL_MODES, PostgresConfig
from destinations.registry import TYPE_CHOICES
from destinations.schedule import Schedule

MAX_IDENTIFIER = 63
MODEL_FIELDS = ("name", "type", "enabled")
ADDRESS = ("host", "port", "user")
PLACE = ("host", "port", "database", "identity_schema")
SSL_LABELS = {
    "disable": "disable: never encrypt",
    "allow": "allow: encrypt only if the server requires it",
    "prefer": "prefer: encrypt if the server supports it",
    "require": "require: always encrypt",
    "verify-ca": "verify-ca: encrypt and check the issuer",
    "verify-full": "verify-full: encrypt, check issuer and host name",
}


def _text(label: str, help_text: str, **options: Any) -> forms.CharField:
    options |= {"label": label, "help_text": help_text, "widget": UnfoldAdminTextInputWidget}
    return forms.CharField(**options)


def _number(initial: int, *validators: BaseValidator, **options: Any) -> forms.IntegerField:
    options |= {"initial": initial, "validators": validators}
    return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget, **options)


def _switch(label: str, help_text: str) -> forms.BooleanField:
    return forms.BooleanField(
        label=label, help_text=help_text, required=False, widget=UnfoldBooleanSwitchWidget
    )


def _schema_name(name: str) -> None:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name) or name.startswith("pg_"):
        raise ValidationError(
            'Use lower-case letters, digits and underscores. It cannot start with a digit or "pg_".'
        )


class PostgresDestinationForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of a Destination, with a field for each value of its config and its password.

    The password is never rendered; an empty field keeps the stored one.
    """

    type = forms.ChoiceField(choices=TYPE_CHOICES, widget=UnfoldAdminSelectWidget)
    host = _text("Host", "Host name or address of the server, or the folder of its Unix socket.")
    port = _number(5432, MinValueValidator(1), MaxValueValidator(65535))
    database = _text(
        "Database", "An existing database with encoding UTF8 on PostgreSQL 15 or newer."
    )
    user = _text("User", "Needs CREATE and TEMPORARY on the database.")
    password = forms.CharField(
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again.",
    )
    remove_password = _switch("Remove the stored password", "For servers that need no password.")
    sslmode = forms.ChoiceField(
        label="TLS",
        initial="prefer",
        choices=[(mode, SSL_LABELS[mode]) for mode in SSL_MODES],
        widget=UnfoldAdminSelectWidget,
        help_text="On public networks, use require or stricter.",
    )
    namespace = _text(
        "Schema",
        "Schema of the event tables for all sources. Empty: one schema per source, named after "
        "the source. A connection keeps the schema of its first load.",
        required=False,
        max_length=MAX_IDENTIFIER,
        validators=[_schema_name],
    )
    identity_schema = _text(
        "Schema of identities",
        "Holds profiles, the identity graph and the cursors. Each destination needs its own. If "
        "you change it, profiles are rebuilt from the events still in the log.",
        initial="rudder_identity",
        max_length=MAX_IDENTIFIER,
        validators=[_schema_name],
    )
    resolve_identities = _switch(
        "Resolve identities", "Find out which identifiers belong to the same person while loading."
    )
    trait_identifiers = _text(
        "Traits that identify",
        "Traits with values that identify a person, separated by commas, such as email, phone. "
        "Applies to new events; replay to apply it to old ones. The block list and the "
        "shared-device limit apply as well.",
        required=False,
    )
    widen_rows = _number(
        1_000_000,
        MinValueValidator(0),
        label="Widen columns up to",
        help_text=(
            "Tables with up to this many rows: an integer column that receives a decimal becomes "
            "numeric. In larger tables the value goes to rudder_discards."
        ),
    )
    column_budget = _number(
        500,
        *(MinValueValidator(50), MaxValueValidator(1500)),
        label="Maximum columns per table",
        help_text="Further properties go to the column rudder_extra.",
    )
    syncFrequency = _number(  # noqa: N815 - options are spelt as RudderStack spells them
        0,
        label="Load every … minutes",
        required=False,
        help_text="0 loads as soon as events arrive. Maximum 1440. Load now ignores the schedule.",
    )
    syncStartAt = _text(  # noqa: N815
        "First load at",
        "First load of the day (HH:MM UTC), then at the interval above. Empty: the interval "
        "counts from the last load.",
        required=False,
    )
    excludeWindowStartTime = _text(  # noqa: N815
        "No load from", "HH:MM in UTC. The period can span midnight.", required=False
    )
    excludeWindowEndTime = _text(  # noqa: N815
        "Until", "HH:MM in UTC.", required=False
    )
    skipTracksTable = _switch(  # noqa: N815
        "Skip the tracks table", "Write track events only to the table named after the event."
    )
    skipUsersTable = _switch(  # noqa: N815
        "Skip the users table", "Write identify events only to the table identifies."
    )
    underscoreDivideNumbers = _switch(  # noqa: N815
        "Separate numbers with underscores",
        "As in older RudderStack warehouses: v2beta becomes v_2_beta.",
    )
    allowUsersContextTraits = _switch(  # noqa: N815
        "Context traits as columns",
        "Store context.traits of identify events without the prefix context_traits_ as well. Web "
        "and Python SDKs send traits there.",
    )
    storeFullEvent = _switch(  # noqa: N815
        "Store the full event", "Each row also stores the whole event in rudder_event."
    )
    jsonPaths = _text(  # noqa: N815
        "JSON columns",
        "Paths stored as jsonb, separated by commas, such as track.properties.cart, "
        "identify.traits.address.",
        required=False,
    )

    class Meta:
        model = Destination
        fields = MODEL_FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config, password = self.instance.config, self.fields["password"]
        for name in self.config_fields():
            if name in config:
                self.initial[name] = config[name]
        if "resolve_identities" not in config:
            self.initial["resolve_identities"] = True
        if self.instance.pk:
            self.fields["type"].disabled = True
        if self._has_password():
            password.widget.attrs["placeholder"] = "stored; leave empty to keep it"
        else:
            del self.fields["remove_password"]

    def config_fields(self) -> list[str]:
        own = {*MODEL_FIELDS, "password", "remove_password"}
        return [name for name in self.fields if name not in own]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("namespace") and data.get("namespace") == data.get("identity_schema"):
            self.add_error("identity_schema", "Use a separate schema for identities.")
        if data.get("password") and data.get("remove_password"):
            self.add_error("remove_password", "Either enter a password or remove it.")
        if self._sends_password_elsewhere(data):
            self.add_error(
                "password",
                "Enter the password again. The stored one is only for the old host, port and user.",
            )
        if not self.errors:
            self._check_config(data)
            self._check_identity_schema(data)
        return data

    def save(self, commit: bool = True) -> Any:
        data = self.cleaned_data
        self.instance.config = {
            **self.instance.config,
            **{name: data[name] for name in self.config_fields()},
        }
        secrets = dict(self.instance.secrets or {})
        if data.get("remove_password"):
            secrets.pop("password", None)
        if data["password"]:
            secrets["password"] = data["password"]
        self.instance.secrets = secrets
        return super().save(commit)

    def _has_password(self) -> bool:
        return bool((self.instance.secrets or {}).get("password"))

    def _sends_password_elsewhere(self, data: dict[str, Any]) -> bool:
        """Whether the stored password would go to another server, which the user may control."""
        if not self._has_password() or data.get("password") or data.get("remove_password"):
            return False
        return any(name in data and data[name] != self.initial.get(name) for name in ADDRESS)

    def _check_identity_schema(self, data: dict[str, Any]) -> None:
        """Refuse a schema of identities that another destination uses, as it would merge people."""
        place = {f"config__{name}": data[name] for name in PLACE}
        other = Destination.objects.filter(**place).exclude(pk=self.instance.pk).first()
        if other is not None:
            self.add_error("identity_schema", f"It is used by {other}. Choose another.")

    def _check_config(self, data: dict[str, Any]) -> None:
        config = {name: data[name] for name in self.config_fields()}
        try:
            PostgresConfig.from_config(config, {})
            Schedule.from_config(config)
        except DestinationError as error:
            name, _, fault = str(error).partition(" is ")
            if name not in self.fields:
                raise ValidationError(str(error)) from error
            self.add_error(name, f"It is {fault}.")
