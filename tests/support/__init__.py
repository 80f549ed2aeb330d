"""What tests share: small models, folders as other tools write them, planted faults, stand-ins for machines."""
