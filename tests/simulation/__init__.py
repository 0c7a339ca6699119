"""The deterministic simulation: sessions on a model of DynamoDB, where one source of choices owns time and network."""
