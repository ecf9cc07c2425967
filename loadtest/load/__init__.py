"""Load on a Deja, or on anything that speaks OpenAI's chat completions: what is asked, when, by how many, and what comes of it.

    texts.py      topics: wordings that one answer serves, and what is easily taken for them
    workload.py   which of them is asked next: popularity, rewordings, traps, second turns, streams    (pure, seeded)
    arrivals.py   when: constant, Poisson, bursts                                                      (pure, seeded)
    answers.py    what came back: from the cache or not, and for the question asked or another         (pure)
    figures.py    percentiles, rates, costs; has it drifted                                            (pure)
    wire.py       HTTP/1.1 with little between it and the socket
    driver.py     open loop (at moments) and closed loop (as fast as answers come), answers read
    hammer.py     as many requests as a server takes, answers counted
    saturation.py how much is too much        soak.py   the same for long
    hosts.py      the processes: upstream, Redis, Deja, embeddings for others     meters.py  their processors and memory
    embeddings_server.py, bare.py             the same model, served, and run by itself
    rival.py      LiteLLM in an environment of its own
    contest.py    caches asked in turns    contenders.py  which    goals.py, contest_report.py  what came of it
    reports.py    what one server did      plots.py       pictures
    __main__.py   python -m loadtest.load

None of it is used by the proxy. How to run it: docs/guide/load-testing.md.
"""
