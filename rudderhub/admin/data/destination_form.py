from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
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
from destinations.registry import CHOICES
from destinations.schedule import Schedule

MAX_IDENTIFIER = 63
MODEL_FIELDS = ("name", "type", "enabled")
ADDRESS = ("host", "port", "user")
PLACE = ("host", "port", "database", "identity_schema")
SSL_LABELS = {
    "disable": "disable: never encrypt",
    "allow": "allow: encrypt only when the server insists",
    "prefer": "prefer: encrypt when the server can",
    "require": "require: always encrypt",
    "verify-ca": "verify-ca: encrypt and check the issuer",
    "verify-full": "verify-full: encrypt, check issuer and host name",
}


def _text(label: str, help_text: str, *, required: bool = True, **options: Any) -> forms.CharField:
    return forms.CharField(
        label=label,
        help_text=help_text,
        required=required,
        widget=UnfoldAdminTextInputWidget,
        **options,
    )


def _switch(label: str, help_text: str) -> forms.BooleanField:
    return forms.BooleanField(
        label=label, help_text=help_text, required=False, widget=UnfoldBooleanSwitchWidget
    )


def _schema_name(name: str) -> None:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name) or name.startswith("pg_"):
        raise ValidationError(
            "Lower-case letters, digits and underscores only; not a digit or pg_ in front."
        )


class PostgresDestinationForm(forms.ModelForm):  # type: ignore[type-arg]
    """A Destination whose config and secrets are fields of their own.

    The password is never rendered; an empty one keeps what is stored.
    """

    type = forms.ChoiceField(choices=CHOICES, widget=UnfoldAdminSelectWidget)
    host = _text("Host", "Name or address of the server, or the folder of its Unix socket.")
    port = forms.IntegerField(
        initial=5432,
        widget=UnfoldAdminIntegerFieldWidget,
        validators=[MinValueValidator(1), MaxValueValidator(65535)],
    )
    database = _text("Database", "It must exist, with encoding UTF8, on PostgreSQL 15 or newer.")
    user = _text("User", "Needs CREATE and TEMPORARY on the database.")
    password = forms.CharField(
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Kept encrypted and never shown again.",
    )
    remove_password = _switch("Remove the stored password", "For servers that ask for none.")
    sslmode = forms.ChoiceField(
        label="TLS",
        initial="prefer",
        choices=[(mode, SSL_LABELS[mode]) for mode in SSL_MODES],
        widget=UnfoldAdminSelectWidget,
        help_text="Over an open network choose require or stricter.",
    )
    namespace = _text(
        "Schema",
        "Schema of the event tables for all sources. Empty: one for each source, named after it. "
        "A connection keeps the schema of its first load.",
        required=False,
        max_length=MAX_IDENTIFIER,
        validators=[_schema_name],
    )
    identity_schema = _text(
        "Schema of identities",
        "Holds profiles, the identity graph and the cursors. Not to be shared by two destinations. "
        "With another one all begins anew: what the log still has is loaded again.",
        initial="rudder_identity",
        max_length=MAX_IDENTIFIER,
        validators=[_schema_name],
    )
    resolve_identities = _switch(
        "Resolve identities", "Find out which identifiers belong to one person while loading."
    )
    trait_identifiers = _text(
        "Traits that identify",
        "Names of traits whose values identify a person, with commas between, like email, phone. "
        "For later events; replay earlier ones. The block list and the hub limit apply to them; "
        "the limit at once to identifiers that are stored.",
        required=False,
    )
    widen_rows = forms.IntegerField(
        label="Widen columns up to",
        initial=1_000_000,
        widget=UnfoldAdminIntegerFieldWidget,
        validators=[MinValueValidator(0)],
        help_text="Rows. A whole-number column that meets a fraction is widened at once in tables "
        "up to this size; in bigger ones the value goes to rudder_discards.",
    )
    column_budget = forms.IntegerField(
        label="Columns a table",
        initial=500,
        widget=UnfoldAdminIntegerFieldWidget,
        validators=[MinValueValidator(50), MaxValueValidator(1500)],
        help_text="A table gets no more; properties beyond go to its column rudder_extra.",
    )
    syncFrequency = forms.IntegerField(  # noqa: N815 - options are spelt as RudderStack spells them
        label="Load every … minutes",
        initial=0,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="0: as soon as events come. At most 1440. Load now overrides it.",
    )
    syncStartAt = _text(  # noqa: N815
        "At this time",
        "HH:MM in UTC, and each so many minutes from then. Empty: so long after the last load.",
        required=False,
    )
    excludeWindowStartTime = _text(  # noqa: N815
        "No load from", "HH:MM in UTC. May be later than the end, across midnight.", required=False
    )
    excludeWindowEndTime = _text(  # noqa: N815
        "Until", "HH:MM in UTC.", required=False
    )
    skipTracksTable = _switch(  # noqa: N815
        "Skip the tracks table", "Write track events only to the table of their own name."
    )
    skipUsersTable = _switch(  # noqa: N815
        "Skip the users table", "Write identify events only to identifies."
    )
    underscoreDivideNumbers = _switch(  # noqa: N815
        "Divide numbers by underscores", "As old RudderStack warehouses do: v2beta gives v_2_beta."
    )
    allowUsersContextTraits = _switch(  # noqa: N815
        "Traits of the context as columns",
        "context.traits of identify events also without the prefix context_traits_. "
        "Web and Python SDKs send their traits there.",
    )
    storeFullEvent = _switch(  # noqa: N815
        "Store the full event", "Each row also holds the whole event, in rudder_event."
    )
    jsonPaths = _text(  # noqa: N815
        "JSON columns",
        "Paths kept as jsonb, with commas between, like track.properties.cart, "
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
            self.add_error("identity_schema", "Identities need a schema of their own.")
        if data.get("password") and data.get("remove_password"):
            self.add_error("remove_password", "Either enter a password or remove it.")
        if self._sends_password_elsewhere(data):
            self.add_error(
                "password",
                "Enter the password again: the stored one is for the old host, port and user only.",
            )
        if not self.errors:
            self._check_config(data)
            self._check_alone(data)
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
        """Who may edit a destination must not get its password sent to a server of theirs."""
        if not self._has_password() or data.get("password") or data.get("remove_password"):
            return False
        return any(name in data and data[name] != self.initial.get(name) for name in ADDRESS)

    def _check_alone(self, data: dict[str, Any]) -> None:
        """Two graphs in one schema would merge the people of both."""
        place = {f"config__{name}": data[name] for name in PLACE}
        other = Destination.objects.filter(**place).exclude(pk=self.instance.pk).first()
        if other is not None:
            self.add_error("identity_schema", f"It is that of {other}: choose another.")

    def _check_config(self, data: dict[str, Any]) -> None:
        config = {name: data[name] for name in self.config_fields()}
        try:
            PostgresConfig.of(config, {})
            Schedule.of(config)
        except DestinationError as error:
            name, _, fault = str(error).partition(" is ")
            if name not in self.fields:
                raise ValidationError(str(error)) from error
            self.add_error(name, f"It is {fault}.")
