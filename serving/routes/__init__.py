"""HTTP routes, one file per resource. They translate; what happens is decided elsewhere."""

from serving.routes import admin, feedback, health, rank
from serving.routes.rank import RankRoute

ROUTERS = (rank.router, feedback.router, admin.router, health.router)

__all__ = ["ROUTERS", "RankRoute"]
