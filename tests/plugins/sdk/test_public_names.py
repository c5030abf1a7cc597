import plugins


def test_the_public_names_are_these_and_no_others() -> None:
    """Every one of them is a promise to authors of plugins."""
    assert plugins.__all__ == [
        "DURATION_PATTERN",
        "ApiKey",
        "ApiKeyCredential",
        "Basic",
        "BasicCredential",
        "Bearer",
        "BearerCredential",
        "Context",
        "Database",
        "DatabaseCredential",
        "Effect",
        "Permanent",
        "Plugin",
        "PluginError",
        "Port",
        "Response",
        "Secret",
        "Signing",
        "SigningCredential",
        "Slot",
        "Smtp",
        "SmtpCredential",
        "Transient",
        "parse_duration",
        "plugin",
    ]
    assert all(hasattr(plugins, name) for name in plugins.__all__)
