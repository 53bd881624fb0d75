"""Public cloud regions and their power markets: where they lie, what their power costs and emits.

Coordinates are those the operators publish. Market figures (mean, 5th and 95th percentile, maximum of hourly day-ahead
or spot prices in USD/MWh; mean, 5th and 95th percentile of direct carbon intensity in t/MWh) are rounded from the
public series of 2022-2024; where there is no market, an industrial tariff with little spread stands in.
"""

from __future__ import annotations

from typing import NamedTuple

from decomp.families.markets import CAISO, ERCOT, GERMANY, ONTARIO, PJM, Market

NSW = Market("AU-NSW", -33.9, 151.2, 72, -6, 153, 10000, 0.501, 0.234, 0.673, 0.60)
VICTORIA = Market("AU-VIC", -37.8, 145.0, 43, -34, 142, 10000, 0.457, 0.283, 0.624, 0.60)
BRAZIL = Market("BR-SP", -23.5, -46.6, 18, 11, 53, 257, 0.061, 0.026, 0.111, 0.20)
INDIA = Market("IN-WE", 19.1, 72.9, 62, 30, 118, 130, 0.686, 0.638, 0.716, 0.15)
MISO = Market("MISO", 41.6, -93.6, 32, 13, 66, 1200, 0.420, 0.300, 0.520, 0.10)
FRANCE = Market("FR", 47.0, 2.4, 83, 0, 166, 306, 0.040, 0.018, 0.075, 0.40)
TOKYO = Market("JP-TK", 35.7, 139.8, 88, 50, 138, 333, 0.452, 0.304, 0.503, 0.30)
KOREA = Market("KR", 37.6, 127.0, 98, 62, 169, 211, 0.367, 0.296, 0.417, 0.15)
IRELAND = Market("IE", 53.3, -6.3, 110, 20, 190, 500, 0.290, 0.150, 0.420, 0.10)
NORWAY = Market("NO", 59.9, 10.8, 60, 5, 130, 560, 0.025, 0.020, 0.032, 0.05)
SOUTH_AFRICA = Market("ZA", -26.2, 28.0, 77, 44, 113, 346, 0.651, 0.597, 0.701, 0.10)
SINGAPORE = Market("SG", 1.3, 103.9, 153, 66, 339, 3361, 0.368, 0.347, 0.376, 0.05)
SWEDEN = Market("SE", 60.0, 17.0, 45, 0, 115, 560, 0.022, 0.014, 0.033, 0.10)
SWITZERLAND = Market("CH", 47.0, 8.5, 99, 15, 174, 335, 0.050, 0.020, 0.110, 0.30)
EMIRATES = Market("AE", 25.2, 55.3, 78, 60, 95, 120, 0.400, 0.360, 0.430, 0.15)
BRITAIN = Market("GB", 51.5, -0.2, 95, 25, 160, 700, 0.117, 0.039, 0.222, 0.20)
NETHERLANDS = Market("NL", 52.2, 5.0, 93, 0, 168, 941, 0.290, 0.120, 0.450, 0.50)
NORTHWEST = Market("US-NW", 47.0, -120.0, 55, 20, 110, 900, 0.090, 0.050, 0.150, 0.10)
ARIZONA = Market("US-SW", 33.4, -112.1, 45, 8, 95, 900, 0.330, 0.220, 0.450, 0.50)


class Region(NamedTuple):
    """A cloud region: name, latitude and longitude in degrees, market."""

    name: str
    latitude: float
    longitude: float
    market: Market


# In an order that spreads every first N over the continents.
REGIONS = (
    Region("eastus", 37.3719, -79.8164, PJM),
    Region("westeurope", 52.3667, 4.9, NETHERLANDS),
    Region("westus", 37.783, -122.417, CAISO),
    Region("japaneast", 35.68, 139.77, TOKYO),
    Region("southcentralus", 29.4167, -98.5, ERCOT),
    Region("germanywestcentral", 50.1109, 8.6821, GERMANY),
    Region("centralindia", 18.5822, 73.9197, INDIA),
    Region("canadacentral", 43.653, -79.383, ONTARIO),
    Region("australiaeast", -33.86, 151.2094, NSW),
    Region("uksouth", 50.941, -0.799, BRITAIN),
    Region("southeastasia", 1.283, 103.833, SINGAPORE),
    Region("brazilsouth", -23.55, -46.633, BRAZIL),
    Region("swedencentral", 60.6749, 17.1413, SWEDEN),
    Region("koreacentral", 37.5665, 126.978, KOREA),
    Region("westus2", 47.233, -119.852, NORTHWEST),
    Region("francecentral", 46.3772, 2.373, FRANCE),
    Region("centralus", 41.5908, -93.6208, MISO),
    Region("southafricanorth", -25.7313, 28.2184, SOUTH_AFRICA),
    Region("uaenorth", 25.2667, 55.3167, EMIRATES),
    Region("australiasoutheast", -37.8136, 144.9631, VICTORIA),
    Region("northeurope", 53.3478, -6.2597, IRELAND),
    Region("eastus2", 36.6681, -78.3889, PJM),
    Region("westus3", 33.4484, -112.074, ARIZONA),
    Region("norwayeast", 59.9139, 10.7522, NORWAY),
    Region("switzerlandnorth", 47.4515, 8.5646, SWITZERLAND),
    Region("northcentralus", 41.8819, -87.6278, PJM),
)
