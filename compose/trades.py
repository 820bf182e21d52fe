"""Writes trades as JSON lines, for ever; whoever reads them says how fast."""

import json
import random
import sys
import time

SYMBOLS = ("ACME", "INIT", "HOOL", "UMBR", "WAYN", "STRK")

while True:
    trade = {
        "symbol": random.choice(SYMBOLS),
        "price": round(random.uniform(90, 110), 2),
        "quantity": random.randint(1, 1_000),
        "at": int(time.time() * 1000),
    }
    sys.stdout.write(json.dumps(trade) + "\n")
    sys.stdout.flush()
