"""The table `orders`: one row for each life of an order."""
