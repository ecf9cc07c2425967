"""HTTP: parse, call one service, render. Status codes and headers live here and nowhere else."""
