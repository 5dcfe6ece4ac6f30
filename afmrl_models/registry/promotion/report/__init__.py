"""champion-versus-challenger.html: one page by which a person can judge the decision of a night."""

from afmrl_models.registry.promotion.report.page import REPORT, champion_report

__all__ = ["REPORT", "champion_report"]
