"""Tidepool, a venue that does not exist: the proof that a venue is a folder and a line in a list.

One WebSocket, JSON with numbers as numbers, times in microseconds:

    > {"op":"join","ref":1,"books":["BTC_USD"],"prints":["BTC_USD"]}
    < {"op":"joined","ref":1,"books":["BTC_USD"],"prints":["BTC_USD"]}      what is served from now on
    < {"op":"denied","ref":1,"m":"NO_USD","why":"no such market"}           the rest is served
    < {"t":"b","m":"BTC_USD","f":101,"l":107,"us":1786309548854840,"c":[[1,65083.66,0.5],[-1,65083.7,0]]}
    < {"t":"p","m":"BTC_USD","us":1786309548854840,"x":[[7001,65083.66,0.5,-1]]}
    < {"t":"ebb","n":7,"last":{"BTC_USD":7001}}                             once a second
    > {"op":"flow","n":7}                                                   or it hangs up

A book frame stands for the changes ``f`` to ``l`` of its market, and the next one goes on at ``l`` + 1; 1 is a bid,
-1 an ask. There is no snapshot on the wire: ``GET /book?m=BTC_USD`` has one, with its own ``l``. In a print the last
number is the taker's side, 1 for a buyer; ids rise by one. ``GET /prints?m=BTC_USD&from=7001&n=100`` gives them upward
from there, ``GET /markets`` names the markets.
"""
