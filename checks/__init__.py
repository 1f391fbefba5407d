"""The programs that the chart is checked with, built from their Go modules."""
