"""Other people's gates, each as its own documentation sets it up, under the load that authd gets in the same round."""
