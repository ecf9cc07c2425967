"""The Agent Memory Server's rules: working memory, windows, prompts, summary views; its bodies are `proxy.api.memory`'s."""
