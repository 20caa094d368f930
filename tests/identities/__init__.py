"""What the derivations of chapter 2 claim: each module has `rows()`, the name and the residual of each identity."""
