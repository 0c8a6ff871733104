"""placeholder"""
def invoke() -> None:
    """soon"""
