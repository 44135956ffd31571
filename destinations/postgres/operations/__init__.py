"""Operations on identities and discards beside the loads."""
