"""Opinion polls of agents: an optional app; nothing else imports it."""
