"""What is counted in bins of a variable: chi2 and errors, the classical estimate of the factor, and the learned one."""
