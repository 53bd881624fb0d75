"""Two papers that pose the problem, computed anew; each is one command in `drivers`.

`joint` runs a fleet with its freedoms taken away one by one (`variants`); `colocation` a data centre beside a wind park
over a month (`market`, `window`, `laws`). Both write `pages` of tables and pictures.
"""
