"""One call to a model provider, whole or streamed; foreign errors become ours here. Knows neither Redis nor routes."""
