"""Generated faces: drawn, lit and moving heads, and attacks made from them. Nobody's likeness."""
