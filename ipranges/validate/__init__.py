"""What may be installed at all (`verify_edition`), and whether it may be installed unseen (`judge`)."""

from ipranges.validate.edition import verify_edition
from ipranges.validate.judge import Judged, Policy, approve_candidate, judge_edition, judge_failure

__all__ = ["Judged", "Policy", "approve_candidate", "judge_edition", "judge_failure", "verify_edition"]
