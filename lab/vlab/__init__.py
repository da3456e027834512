# SPDX-License-Identifier: Apache-2.0
"""The parts of volt-lab: cache, machine, wire, session, broker, doctor. Standard library only."""


class LabError(Exception):
    """The lab itself failed: what, why, what to do. Ends volt-lab with status 125."""
