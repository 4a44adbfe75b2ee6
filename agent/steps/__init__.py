"""The referee's steps: journaled like tool calls, offered to no planner."""
