"""The rules, pure: no await, no clock, no environment, no Redis, no HTTP."""
