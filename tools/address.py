"""The public address of the repository: _config.yml holds it, and this command sets it wherever else it stands."""
